"""Harnesses that attack what gittrack promises.

Each module here has ``attack(count, seed, folder)``, which tries a promise so many times and tells what was
lost, and ``control(count, seed, folder)``, the same harness on a variant known to be wrong, which must lose
something: else the green of the first means nothing. The tests beside it run a slice; ``tests/full`` runs it all.
"""

# By name, how many attempts its control needs to lose something for certain.
HARNESSES = {
    "kill_points": 20,
    "power_cuts": 6,
    "faulty_disks": 24,
    "crowds": 48,
    "preemption": 9,
    "exact_data": 2_000,
    "lives_of_runs": 1_000,
    "hostile": 7,
    "odd_repositories": 2,
}
