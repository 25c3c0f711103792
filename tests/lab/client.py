"""What `kubectl`, `istioctl`, `curl` and `dig` are in the lab's shell: a call to the running lab.

It hands its own standard input, output and error to the lab, which answers with an exit code. It
imports as little as it can, because a transcript calls it dozens of times: the module `socket`
would take longer than all else that happens here, and is a layer over `_socket`.
"""

import _socket
import os
import sys


def main() -> int:
    path = os.environ.get("LAB_SOCKET", "")
    words = [os.path.basename(sys.argv[0]), os.getcwd(), *sys.argv[1:]]  # noqa: PTH119, PTH109
    lab = _socket.socket(_socket.AF_UNIX)
    try:
        lab.connect(path)
    except OSError:
        print(f"{words[0]}: the lab is not running", file=sys.stderr)
        return 1
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    lab.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    lab.sendall("\0".join(words).encode())
    lab.shutdown(_socket.SHUT_WR)
    return int(lab.recv(16) or b"1")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
