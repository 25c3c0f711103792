"""What `kubectl`, `istioctl`, `curl` and `dig` are in the lab's shell: a call to the running lab.

It hands its own standard input, output and error to the lab, which answers with an exit code. It
imports as little as it can, because a transcript calls it dozens of times.
"""

import os
import socket
import sys


def main() -> int:
    path = os.environ.get("LAB_SOCKET", "")
    words = [os.path.basename(sys.argv[0]), os.getcwd(), *sys.argv[1:]]  # noqa: PTH119, PTH109
    with socket.socket(socket.AF_UNIX) as lab:
        try:
            lab.connect(path)
        except OSError:
            print(f"{words[0]}: the lab is not running", file=sys.stderr)
            return 1
        socket.send_fds(lab, [b"+"], [0, 1, 2])
        lab.sendall("\0".join(words).encode())
        lab.shutdown(socket.SHUT_WR)
        return int(lab.recv(16) or b"1")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
