"""What a query asks of Chroma."""

from chromadb.api.models.Collection import Collection


def trips(monkeypatch, ask):
    """Names of the calls that `ask` leads to, and what is included in them."""
    made = []
    with monkeypatch.context() as patch:
        for name in ("get", "query", "count"):
            call = getattr(Collection, name)

            def counted(self, *args, _call=call, _name=name, **kwargs):
                made.append((_name, tuple(kwargs.get("include", ()))))
                return _call(self, *args, **kwargs)

            patch.setattr(Collection, name, counted)
        ask()
    return made
