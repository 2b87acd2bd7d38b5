"""The vector instructions of aarch64, compiled by a cross compiler and run under an emulator, where both are installed (Debian: gcc-aarch64-linux-gnu,
libc6-dev-arm64-cross, qemu-user)."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["tests/unit/vectors_check.c", "src/data/simd.c", "src/query/bits.c", "src/data/parquet/unpack.c"]


def test_neon_gives_what_plain_c_gives(tmp_path):
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not compiler or not emulator:
        pytest.skip("gcc-aarch64-linux-gnu and qemu-user are not installed")
    program = tmp_path / "vectors_check"
    built = subprocess.run([compiler, "-std=gnu17", "-O2", "-static", "-Wall", "-Werror", "-D_GNU_SOURCE", f"-I{ROOT / 'src'}", *(str(ROOT / one) for one in SOURCES), "-o", str(program)],
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([emulator, str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith(" comparisons\n"), done
