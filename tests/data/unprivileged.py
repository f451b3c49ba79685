"""Actions without the rights of root, who may read and write everything."""

import os
from collections.abc import Callable

from equipoise.errors import UsageError


def as_nobody(action: Callable[[], object]) -> str:
    """Run `action` in a child without the rights of root, and give the message of its UsageError."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setuid(65534)
        try:
            action()
        except UsageError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    return message
