"""The sandbox behind Prism behind a router, and payoutds that pay into it."""

import contextlib

import program
from prism import prism, router
from processes import folder_of
from program import Payoutd

NAMES = [
    "Zoë Ångström", "李小龙", "Müller & Söhne GmbH", "O'Brien, \"Pat\"", "Ольга Ёлкина",
    "محمد علي", "山田 太郎", "Ælfgifu 🎵 Records", "José-María Ñuñez", "ǅ ﬀ ŉ", "e\u0301 combining",
]
# The most that one commission can be: 10^12 minor units.
LARGEST = {"CHF": "10000000000.00", "BHD": "1000000000.000", "KRW": "1000000000000"}


class Stage:
    """Where a rail is held to its provider's specification."""

    def __init__(self, folder, sandbox, net, front, provider, credentials):
        self.folder, self.sandbox, self.prism, self.front = folder, sandbox, net, front
        self.provider, self.credentials = provider, credentials

    def payoutd(self, name, settings=None):
        """A payoutd of its own, whose provider is this one."""
        folder = self.folder / name
        folder.mkdir()
        rail = {"base_url": self.front.url, **self.credentials, **(settings or {})}
        section = f"providers.{self.provider}"
        return Payoutd(folder, {f"{section}.{key}": value for key, value in rail.items()})


@contextlib.contextmanager
def stage(name, specification, provider, credentials, direct=()):
    """Sets the stage; calls to the paths that begin with one of `direct` pass Prism by."""
    folder = folder_of(name)
    with (
        program.sandbox(folder) as sandbox,
        prism(specification, sandbox.address, folder / "prism.log") as net,
        router({"/": net, **{path: sandbox.address for path in direct}}) as front,
    ):
        yield Stage(folder, sandbox, net, front, provider, credentials)
