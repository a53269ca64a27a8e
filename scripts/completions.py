#!/usr/bin/env python3
"""Presses Tab in real shells, as a person would, and lints the manual page.

    scripts/completions.py [BINARY]

Needs bash, zsh, fish and mandoc. Prints SKIPPED for each that is not installed.
"""

import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

# What is typed, and the arguments that the program should then get. A shell may write --option=value for --option value,
# and leave out the slash after a folder.
TYPED = [
    ("aud\t --us\trei", "audit --user rei"),
    ("user set-p\t rei", "user set-password rei"),
    ("conf\t --da\tfold\t", "config --data folder"),
    ("--data folder user li\t --js\t", "--data folder user list --json"),
    ("--data=fold\t user li\t", "--data folder user list"),
    ("import-medusa Med\t --av\tfold\t", "import-medusa Medusa.db --avatars folder"),
    ("audit --user id:7 --js\t", "audit --user id:7 --json"),
    ("user --he\t", "user --help"),
    ("dance --he\t", "dance --help"),
    ("completions fi\t", "completions fish"),
    ("serve --lis\tunix:x", "serve --listen unix:x"),
]
# How each shell is started, and the line that makes it load the script and print the arguments of accountd. The script
# calls the program itself, which is in PATH, and not this function.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}; accountd() {{ echo \"[$*]\"; }}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source {script}; accountd() {{ echo \"[$*]\"; }}"),
    "fish": (["fish", "--no-config", "-i"], "source {script}; function accountd; echo \"[$argv]\"; end"),
}


def read(terminal, until, patience=20):
    """The output of the terminal up to and with a text; fails if the text does not come."""
    shown, end = "", time.monotonic() + patience
    while until not in shown:
        if time.monotonic() > end or not select.select([terminal], [], [], end - time.monotonic())[0]:
            raise SystemExit(f"FAILED: {until!r} did not come: {shown!r}")
        shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


def try_shell(name, binary, folder):
    command, load = SHELLS[name]
    script = os.path.join(folder, name)
    with open(script, "wb") as file:
        subprocess.run([binary, "completions", name], stdout=file, check=True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": folder, "TERM": "dumb", "PS1": "$ "}
        os.execvpe(command[0], command, environment)
    os.write(terminal, (load.format(script=script) + "; echo load''ed\n").encode())
    read(terminal, "loaded")
    for typed, called in TYPED:
        os.write(terminal, f"accountd {typed}\n".encode())
        shown = read(terminal, "]").replace("=", " ")
        # Only a line that was run prints brackets.
        got = shown[shown.rindex("[", 0, shown.rindex("]")) + 1:shown.rindex("]")].strip()
        got = " ".join(word.removesuffix("/") for word in got.split(" "))
        if got != called:
            raise SystemExit(f"FAILED: {name}: {typed!r} became {got!r}, not {called!r}")
    os.write(terminal, b"exit\n")
    os.close(terminal)
    os.waitpid(pid, 0)
    print(f"ok   {name}: {len(TYPED)} lines with Tab")


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    binary = os.path.join(root, "target/release/accountd")
    if len(sys.argv) > 1:
        binary = os.path.abspath(sys.argv[1])
    else:
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=root, check=True)
    for name in SHELLS:
        with tempfile.TemporaryDirectory() as folder:
            for name_of_folder in ("folder", "bin"):
                os.mkdir(os.path.join(folder, name_of_folder))
            open(os.path.join(folder, "Medusa.db"), "w").close()
            os.symlink(binary, os.path.join(folder, "bin/accountd"))
            if shutil.which(name):
                try_shell(name, binary, folder)
            else:
                print(f"SKIPPED {name}: not installed")
    page = subprocess.run([binary, "man"], stdout=subprocess.PIPE, check=True).stdout
    if shutil.which("mandoc"):
        # A page without a date is the same in every build.
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=page, stdout=subprocess.PIPE).stdout.decode()
        faults = [line for line in lint.splitlines() if "missing date" not in line]
        if faults:
            raise SystemExit("FAILED: the manual page:\n" + "\n".join(faults))
        print(f"ok   the manual page: {len(page.splitlines())} lines")
    else:
        print("SKIPPED the manual page: mandoc is not installed")
    print("PASSED")


if __name__ == "__main__":
    main()
