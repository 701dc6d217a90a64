"""A file given a name that nothing has yet."""

import os


def link_new(source: str, name: str, directory: int | None = None) -> None:
    """Give a file a name (in an open directory); where something has that name, raise FileExistsError and do nothing.

    Where there are no hard links the file is moved, so `source` may be gone.
    """
    try:
        os.link(source, name, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: look, then move.
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(source, name, dst_dir_fd=directory)
            return
        raise FileExistsError(name) from None
