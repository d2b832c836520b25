#!/usr/bin/env python3
"""What the scripts beside this one need of PyPI, by name and version.

    scripts/packages.py           fetches all of it
    scripts/packages.py NAME      one environment, and prints its site-packages

An environment is a virtual one in the user's cache folder, which is made once. Who asks for it while another process makes it waits.
"""
import fcntl
import os
import subprocess
import sys

ENVIRONMENTS = {
    "onnx": ["onnx==1.22.0", "onnxruntime==1.32.0", "numpy==2.4.6"],
    "ptxas": ["nvidia-cuda-nvcc-cu12==12.9.86"],
}
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")


def environment(name):
    """Makes an environment where it is not there yet, and gives its Python."""
    packages = ENVIRONMENTS[name]
    folder = os.path.join(CACHE, "pitopt", "-".join(["python"] + [p.replace("==", "-") for p in packages]))
    python = os.path.join(folder, "bin", "python")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, "complete")):
            print("fetching", ", ".join(packages), file=sys.stderr, flush=True)
            subprocess.check_call([sys.executable, "-m", "venv", "--clear", folder])
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
            subprocess.check_call(install + packages, stdout=sys.stderr)
            open(os.path.join(folder, "complete"), "w").close()
    return python


def site(name):
    """The folder of an environment that has its packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([environment(name), "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def suite():
    """ONNX's backend suite: $PITOPT_SUITE, or that of the package."""
    return os.environ.get("PITOPT_SUITE") or os.path.join(site("onnx"), "onnx", "backend", "test", "data")


def enter(name):
    """Starts the script that runs again, in an environment, unless it runs there."""
    python = environment(name)
    if os.environ.get("PITOPT_PYTHON") != python:
        os.environ["PITOPT_PYTHON"] = python
        os.execv(python, [python, os.path.abspath(sys.argv[0])] + sys.argv[1:])


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] not in list(ENVIRONMENTS) + ["suite"]:
        sys.exit(f"scripts/packages.py: there is no {sys.argv[1]}, but " + ", ".join(ENVIRONMENTS) + ", suite")
    if sys.argv[1:]:
        print(suite() if sys.argv[1] == "suite" else site(sys.argv[1]))
    else:
        for each in ENVIRONMENTS:
            environment(each)
