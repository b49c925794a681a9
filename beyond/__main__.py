"""The command line of what goes beyond the homework: python -m beyond COMMAND."""

from hw3 import faces
from hw3.commands import DATA, Commands


def main(arguments: list[str] | None = None) -> None:
    """Run a command."""
    made = Commands("beyond", "Seven emotions: what goes beyond the homework, recorded anew.")
    add = made.add(audit, DATA).add_argument
    add("--record", action="store_true", help="write results/audit/ anew instead")
    made.add(inside, DATA)
    made.add(votes).add_argument("file", metavar="fer2013new.csv", help="FER+'s own file")
    text = "few and small measurements, to see that it runs; nothing is kept"
    made.add(bench).add_argument("--quick", action="store_true", help=text)
    made.run(arguments)


def audit(options) -> None:
    """Count FER2013's repeated pictures again, and compare with the recorded counts."""
    from beyond import audit

    audit.recount(faces.find(options.data), options.record)


def inside(options) -> None:
    """Look into the recorded CNN on PrivateTest, and record what is found (some minutes)."""
    from beyond import inside

    count = inside.record(faces.find(options.data))
    print(f"{count:,} faces of PrivateTest: results/inside/{inside.RECORDED.name}")


def votes(options) -> None:
    """Record FER+'s votes for PublicTest and PrivateTest."""
    from beyond import votes

    count = votes.record(options.file)
    print(f"the votes of {count:,} pictures are in results/votes/{votes.RECORDED.name}")


def bench(options) -> None:
    """Measure training steps and the loading of train.csv; unless quick, keep the figures."""
    from beyond import bench

    bench.run(quick=options.quick)


if __name__ == "__main__":
    main()
