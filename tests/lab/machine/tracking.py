"""Keeps from sidecars what a firewall makes the kernel know of their connections.

Where a rule lets the kernel track connections (Docker, ufw and many others have such rules), it
tells of each where it was to go before any rule: to the sidecar, which would take that for the
destination, and forget the one in the PROXY header.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct

# Of <linux/prctl.h>, <linux/seccomp.h>, <linux/filter.h> and <linux/netfilter_ipv4.h>.
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
_FAIL, _ALLOW = 0x00050000, 0x7FFF0000
_INSTRUCTION, _LOAD, _IF_EQUAL, _RETURN = struct.Struct("HBBI"), 0x20, 0x15, 0x06
SO_ORIGINAL_DST = 80

# How the kernel calls an architecture, and the number of getsockopt(2) there.
_GETSOCKOPT = {"x86_64": (0xC000003E, 55), "aarch64": (0xC00000B7, 209)}


def hide() -> None:
    """Lets SO_ORIGINAL_DST fail as where nothing is tracked, here and in what is started from here.

    It is a filter of seccomp(2), for which nobody needs a right; but programs such as sudo cannot
    become root from now on. There must be no other thread yet. Where the kernel has no such filter,
    sidecars fail beside such a firewall, and nothing else.
    """
    if platform.machine() not in _GETSOCKOPT:
        return  # nor is there an Envoy
    architecture, getsockopt = _GETSOCKOPT[platform.machine()]
    # Each is a word of `struct seccomp_data`: if it is another than this, the last line follows.
    words = ((4, architecture), (0, getsockopt), (24, socket.SOL_IP), (32, SO_ORIGINAL_DST))
    code = b""
    for left, (offset, value) in zip((7, 5, 3, 1), words, strict=True):
        code += _INSTRUCTION.pack(_LOAD, 0, 0, offset)
        code += _INSTRUCTION.pack(_IF_EQUAL, 0, left, value)
    code += _INSTRUCTION.pack(_RETURN, 0, 0, _FAIL | errno.ENOENT)
    code += _INSTRUCTION.pack(_RETURN, 0, 0, _ALLOW)
    lines = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(code) // _INSTRUCTION.size, ctypes.addressof(lines))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program)
