"""The build backend (PEP 517) of the wheel: cargo builds the program, maturin the extension module and the archive.

maturin puts either a program or an extension module into a wheel; appserver is both. So the program is laid into the `data`
folder that pyproject.toml names, from where installers put it into `bin`.
"""

import os
import pathlib
import shutil
import subprocess

import maturin
from maturin import get_requires_for_build_wheel, prepare_metadata_for_build_wheel

__all__ = ["build_sdist", "build_wheel", "get_requires_for_build_wheel", "prepare_metadata_for_build_wheel"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "target" / "wheel.data" / "scripts"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    # Whatever Python builds it: the module is for 3.9 and everything newer.
    os.environ["PYO3_CONFIG_FILE"] = str(ROOT / "packaging" / "python" / "pyo3-config.txt")
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "appserver"], cwd=ROOT, check=True)
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    shutil.copy2(target / "release" / "appserver", SCRIPTS)
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    raise SystemExit("there is no source archive of viaduct-appserver; build a wheel in a checkout: pip wheel --no-deps .")
