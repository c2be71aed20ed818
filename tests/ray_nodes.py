"""A Ray cluster of three nodes on this machine; a program: `python ray_nodes.py`.

It prints the address, kills a node for every line that it reads, and ends with its input. The
first node has no cores, so that all work is on the two others.
"""

import os
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

from ray.cluster_utils import Cluster


def main() -> None:
    """Serve until the input ends."""
    quiet = {"include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    cluster.wait_for_nodes()
    say(cluster.address)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        say("killed")
    cluster.shutdown()


def say(line: str) -> None:
    """Write a line into the pipe at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
