"""Measures the memory, threads, descriptors and processes of a server."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

MORE_THREADS, MORE_DESCRIPTORS, MORE_MEMORY = 4, 8, 16 * 1024 * 1024


@dataclass
class State:
    """Memory in bytes, threads and descriptors of processes."""

    memory: int = 0
    threads: int = 0
    descriptors: int = 0
    pids: set[int] = field(default_factory=set)


def measure(root: int) -> State:
    """The state of a process with its descendants and its session."""
    processes = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            processes[int(pid)] = (int(fields[1]), int(fields[3]), int(fields[17]))
    state = State(pids={pid for pid, (_, session, _) in processes.items() if root in (pid, session)})
    while more := {pid for pid, (parent, _, _) in processes.items() if parent in state.pids} - state.pids:
        state.pids |= more
    for pid in sorted(state.pids):
        try:
            state.memory += memory(pid)
            state.descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            state.threads += processes[pid][2]
        except OSError:
            state.pids.discard(pid)
    return state


def memory(pid: int) -> int:
    """The PSS of a process in bytes, or its RSS if the kernel does not tell the PSS."""
    for name, member in ((f"/proc/{pid}/smaps_rollup", "Pss:"), (f"/proc/{pid}/status", "VmRSS:")):
        try:
            lines = Path(name).read_text().splitlines()
        except PermissionError:
            continue
        sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith(member)]
        if sizes:
            return sizes[0]
    return 0


def settle(root: int, patience: float = 15) -> State:
    """The state once it has not changed for three quarters of a second."""
    states = [measure(root)]
    end = time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(0.25)
        states.append(measure(root))
        if len({(state.threads, state.descriptors) for state in states[-4:]}) == 1 and len(states) >= 4:
            break
    return states[-1]


def update_peak(peak: State, state: State) -> None:
    """Updates the peak of each number."""
    peak.memory = max(peak.memory, state.memory)
    peak.threads = max(peak.threads, state.threads)
    peak.descriptors = max(peak.descriptors, state.descriptors)
    peak.pids = max(peak.pids, state.pids, key=len)


def growth(before: State, after: State) -> list[str]:
    """What the server still has much more of than before."""
    if not after.pids:
        return ["the server exited"]
    return [
        f"more {name} than before"
        for name, much, allowed in [
            ("threads", after.threads - before.threads, MORE_THREADS),
            ("descriptors", after.descriptors - before.descriptors, MORE_DESCRIPTORS),
            ("memory", after.memory - before.memory, MORE_MEMORY),
        ]
        if much > allowed
    ]
