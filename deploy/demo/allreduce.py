"""A small data-parallel training: every rank has its own part of the data, and all agree on the model.

Linear regression by gradient descent. Each step, every rank computes the gradient on its own points and a ring
all-reduce over TCP sums the gradients of all ranks, as NCCL would between GPUs; so the ranks' weights stay equal, to
the last bit. Plain Python, nothing to install. It needs MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE, the variables
that PyTorch's launchers and operators set. With RANKS_PER_POD=n each pod runs n ranks, one for each of its GPUs, as
torchrun does.
"""

import os
import random
import socket
import struct
import subprocess
import sys
import time

TRUE_WEIGHTS = (3.0, -2.0, 0.5)  # the last is the constant
POINTS_PER_RANK = 400
STEPS = 60
LEARNING_RATE = 0.4
PATIENCE_S = 60
MASTER = "master"  # in the address book: the host that everybody knows as MASTER_ADDR


def main():
    ranks_here = int(os.environ.pop("RANKS_PER_POD", "1"))
    if ranks_here > 1:
        sys.exit(launch(ranks_here))
    train(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def launch(ranks_here):
    """One process for each GPU of this pod; the first failure is the pod's."""
    pod, pods = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    ranks = []
    for local in range(ranks_here):
        place = {"RANK": str(pod * ranks_here + local), "WORLD_SIZE": str(pods * ranks_here), "LOCAL_RANK": str(local)}
        if len(gpus) == ranks_here:
            place["CUDA_VISIBLE_DEVICES"] = gpus[local]
        ranks.append(subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, **place}))
    return max(abs(rank.wait()) for rank in ranks)


def train(rank, world):
    # Newlines are part of the text: with PYTHONUNBUFFERED print would write them apart, between two ranks' lines.
    ring = join_ring(rank, world)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    print(f"rank {rank} of {world} on GPU {gpu or '-'}: joined the ring\n", end="", flush=True)
    points = make_points(rank)
    weights = [0.0, 0.0, 0.0]
    for step in range(1, STEPS + 1):
        loss, gradient = evaluate(weights, points)
        total = ring.all_reduce([loss, *gradient])
        weights = [w - LEARNING_RATE * g / world for w, g in zip(weights, total[1:], strict=True)]
        if rank == 0 and (step == 1 or step % 20 == 0):
            print(f"step {step:3d}  loss {total[0] / world:.6f}\n", end="", flush=True)
        time.sleep(0.02)
    (ranks,) = ring.all_reduce([float(rank + 1)])
    if ranks != world * (world + 1) / 2 or not ring.all_reduce(weights, min) == weights == ring.all_reduce(
        weights, max
    ):
        sys.exit(f"rank {rank}: the ranks disagree: {weights} here, sum of ranks {ranks:.0f}")
    found = " ".join(f"{w:+.4f}" for w in weights)
    print(f"rank {rank} agrees: weights {found}, sum of ranks {ranks:.0f}\n", end="", flush=True)
    ring.close()


def make_points(rank):
    rng = random.Random(rank)  # noqa: S311 - the same data at every run
    points = []
    for _ in range(POINTS_PER_RANK):
        x, y = rng.uniform(-1, 1), rng.uniform(-1, 1)
        points.append((x, y, TRUE_WEIGHTS[0] * x + TRUE_WEIGHTS[1] * y + TRUE_WEIGHTS[2] + rng.gauss(0, 0.01)))
    return points


def evaluate(weights, points):
    """Mean squared error and its gradient."""
    loss, gradient = 0.0, [0.0, 0.0, 0.0]
    for x, y, wanted in points:
        error = weights[0] * x + weights[1] * y + weights[2] - wanted
        loss += error * error / len(points)
        for i, value in enumerate((x, y, 1.0)):
            gradient[i] += error * value / len(points)
    return loss, gradient


class Ring:
    """Each rank sends to its right neighbour and receives from its left one."""

    def __init__(self, rank, world, left, right):
        self.rank, self.world, self.left, self.right = rank, world, left, right

    def all_reduce(self, values, reduce=sum):
        """Over all ranks, element by element; in rank order on every rank, so that all have the same bits."""
        parts = {self.rank: list(values)}
        passing = parts[self.rank]
        for hop in range(1, self.world):
            send(self.right, passing)
            passing = receive(self.left, len(values))
            parts[(self.rank - hop) % self.world] = passing
        return [reduce(column) for column in zip(*(parts[rank] for rank in range(self.world)), strict=True)]

    def close(self):
        for end in (self.left, self.right):
            if end is not None:
                end.close()


def join_ring(rank, world):
    """The master tells every rank where its right neighbour listens; then each dials it."""
    if world == 1:
        return Ring(rank, world, None, None)
    listener = socket.create_server((own_interface(), 0))
    listener.settimeout(PATIENCE_S)
    here = listener.getsockname()[1]
    addresses = meet_as_master(world, here) if rank == 0 else meet_master(rank, here)
    host, port = addresses[(rank + 1) % world]
    right = dial(os.environ["MASTER_ADDR"] if host == MASTER else host, port)
    left, _ = listener.accept()
    left.settimeout(PATIENCE_S)
    listener.close()
    return Ring(rank, world, left, right)


def own_interface():
    """Loopback when all ranks are on one machine, else every interface."""
    return "127.0.0.1" if os.environ["MASTER_ADDR"] in ("127.0.0.1", "localhost") else ""


def meet_as_master(world, port):
    meeting = socket.create_server((own_interface(), int(os.environ["MASTER_PORT"])), backlog=world)
    meeting.settimeout(PATIENCE_S)
    addresses, callers = {0: (MASTER, port)}, []
    while len(addresses) < world:
        caller, (host, _) = meeting.accept()
        caller.settimeout(PATIENCE_S)
        rank, its_port = struct.unpack("!ii", receive_bytes(caller, 8))
        addresses[rank] = (host, its_port)
        callers.append(caller)
    book = "\n".join(f"{host} {port}" for _, (host, port) in sorted(addresses.items())).encode()
    for caller in callers:
        caller.sendall(struct.pack("!i", len(book)) + book)
        caller.close()
    meeting.close()
    return addresses


def meet_master(rank, port):
    with dial(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])) as master:
        master.sendall(struct.pack("!ii", rank, port))
        (size,) = struct.unpack("!i", receive_bytes(master, 4))
        book = receive_bytes(master, size).decode()
    pairs = [line.split() for line in book.splitlines()]
    return {number: (host, int(its_port)) for number, (host, its_port) in enumerate(pairs)}


def dial(host, port):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection((host, port), timeout=PATIENCE_S)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def send(end, values):
    end.sendall(struct.pack(f"!{len(values)}d", *values))


def receive(end, count):
    return list(struct.unpack(f"!{count}d", receive_bytes(end, 8 * count)))


def receive_bytes(end, size):
    data = b""
    while len(data) < size:
        chunk = end.recv(size - len(data))
        if not chunk:
            raise ConnectionError("a neighbour is gone")
        data += chunk
    return data


if __name__ == "__main__":
    main()
