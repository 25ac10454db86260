"""What tests do at the moments of a write: die, stand still, let somebody else go first."""

from energy_plugin.stored.moments import watching


class Crash(BaseException):
    """The process dies here."""


def dying(moment, skip=0, error=None):
    """Die at a moment, the first or, after `skip` of them, a later one; or fail with an error."""
    left = [skip]

    def die(now):
        if now is moment:
            if left[0] == 0:
                raise error or Crash(moment.name)
            left[0] -= 1

    return watching(die)


def once(moment, call):
    """Call something at the first such moment; what it reaches itself does not count."""
    called = []

    def first(now):
        if now is moment and not called:
            called.append(True)
            call()

    return watching(first)


def seen(*moments):
    """A list that grows by the moments that are reached, and the context in which it does."""
    found = []
    return found, watching(lambda now: now in moments and found.append(now))
