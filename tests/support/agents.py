"""What tests of the tools of agents share."""


class Refused(Exception):
    """A tool answered with an error."""
