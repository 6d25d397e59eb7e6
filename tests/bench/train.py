#!/usr/bin/env python3
"""Sends a binary what a gateway is asked for most: the profile that tools/release.sh builds the release by.

train.py BINARY WORK    BINARY counts where its requests go; WORK is a folder for the mock and the load

Whole answers, long questions, streams slow and in bursts, on the caller's own wire and on another, with
TLS and without. Takes a quarter of a minute; everything stays on 127.0.0.1. Exit code 1: something
failed, and the profile is not worth much.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import peers

CHUNKS = ".chunks=50.size=250"
OWN_WIRE, OTHER_WIRE = "mock", "claude"    # models of the channels that peers.Lyss adds


def loads(model):
    return (("closed", dict(conns=64, model=model)),
            ("closed", dict(conns=64, model=model, bytes=102400)),
            ("stream", dict(conns=500, model=model + CHUNKS + ".delay=20")),
            ("stream", dict(conns=64, model=model + CHUNKS + ".burst=50")))


def train(run):
    for name, secure, models in (("lyss", False, (OWN_WIRE, OTHER_WIRE)), ("lyss-tls", True, (OWN_WIRE,))):
        proxy = run.proxy(name)
        for mode, options in (load for model in models for load in loads(model)):
            result = run.load(proxy, mode, secure, warm=0, seconds=0.5, **options)
            if result["errors"]:
                raise peers.BenchError(f"{result['errors']} errors in {mode} {options}")
        proxy.settle()
        run.retire(name)
        code = proxy.process.popen.returncode
        if code:
            raise peers.BenchError(f"{name} ended with {code}: what it has counted is lost")


def main():
    binary, work = map(os.path.abspath, sys.argv[1:])
    cores = sorted(os.sched_getaffinity(0))
    peers.PROXY_CORE, peers.LOAD_CORE = cores[0], cores[-1]
    folder = tempfile.mkdtemp(prefix="lyss-train-")
    run = None
    try:
        peers.build(work)
        run = peers.Run(folder, work, binary)
        train(run)
    except (peers.BenchError, OSError, subprocess.SubprocessError) as e:
        sys.exit(f"train: {e}")
    finally:
        if run:
            run.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
