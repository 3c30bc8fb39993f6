"""Harnesses that attack what gittrack promises.

Each module here has ``attack(count, seed, folder)``, which tries a promise so many times and tells what was
lost, and ``control(count, seed, folder)``, the same harness on a variant known to be wrong, which must lose
something: else the green of the first means nothing. The tests beside it run a slice; ``tests/full`` runs it all.
"""

HARNESSES = (
    "kill_points",
    "power_cuts",
    "faulty_disks",
    "crowds",
    "preemption",
    "exact_data",
    "lives_of_runs",
    "hostile",
    "odd_repositories",
)
CONTROL_COUNT = 20
