"""lyss simulate: the table, the JSON, the pictures, and what it refuses."""
import json
import subprocess
import xml.etree.ElementTree

import pytest

from lib.lyss import BIN


def simulate(*args):
    return subprocess.run([BIN, "simulate", *args], capture_output=True, text=True, timeout=60)


def test_table_names_every_algorithm():
    done = simulate("--scenario", "one-slow", "--picks", "1000")
    assert done.returncode == 0, done.stderr
    for name in ("weighted_random", "round_robin", "least_connections", "best_performance",
                 "adaptive", "lowest_cost", "consistent_hash"):
        assert f"\n{name} " in done.stdout
    assert "geometric mean" in done.stdout


def test_json_is_the_same_for_the_same_seed():
    args = ("--json", "--scenario", "flapping", "--scenario", "equal", "--algorithm", "adaptive",
            "--picks", "800", "--seed", "5")
    first, second = simulate(*args), simulate(*args)
    assert first.stdout == second.stdout
    told = json.loads(first.stdout)
    assert [s["name"] for s in told["scenarios"]] == ["flapping", "equal"]
    for s in told["scenarios"]:
        (only,) = s["results"]
        assert only["algorithm"] == "adaptive" and only["relative"] == 1
        assert abs(sum(only["share"].values()) - 1) < 1e-9
        assert only["after_warm_up"]["p95_ttft_ms"] > 0
    assert simulate(*args[:-1], "6").stdout != first.stdout


def test_pictures_are_well_formed(tmp_path):
    done = simulate("--picks", "500", "--svg", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    pictures = sorted((tmp_path / "new").iterdir())
    assert len(pictures) == 8
    for p in pictures:
        root = xml.etree.ElementTree.parse(p).getroot()
        assert root.tag.endswith("svg") and p.name == f"simulate-{p.stem[9:]}.svg"


@pytest.mark.parametrize("args, word", [
    (("--scenario", "nothing"), "nothing"), (("--algorithm", "best"), "best"),
    (("--picks", "0"), "number"), (("--picks", "1000001"), "number"),
    (("--seed", "-1"), "number"), (("--nonsense",), "nonsense"), (("word",), "no words"),
    (("--algorithm", "adaptive") * 17, "too often"), (("--svg", "/dev/null/x"), "/dev/null/x")])
def test_bad_flags_are_refused(args, word):
    done = simulate(*args, *(("--picks", "10") if "--picks" not in args else ()))
    assert done.returncode != 0 and word in done.stderr and not done.stdout
