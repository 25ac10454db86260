"""``python -m energy_plugin`` is ``energy-plugin``."""

from __future__ import annotations

from energy_plugin.cli import main

if __name__ == "__main__":
    main()
