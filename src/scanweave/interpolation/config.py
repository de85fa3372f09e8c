"""Every option of the verb `interpolate`: the command line's help, the YAML file and the plan come from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..errors import InputError, UsageError
from .methods import DEFAULT_METHOD


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NetworkOptions:
    """How a method that is a network runs; the others refuse these."""

    weights: Path | None = None
    """Weights file of a network: its authors' or ours, or the name of one in the user's folder."""

    device: str = "auto"
    """Where networks run: auto, cpu, cuda, cuda:1, mps."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of a network's convolutions; warps, flows and normalisation stay in float32."""

    compile: bool = False
    """Compile a network first: minutes once, faster then."""

    tile: int | Literal["auto"] = "auto"
    """Side of the tiles that a network takes large frames in, in pixels: same numbers, less memory, more time. auto
    tiles frames above 1024 x 1024, 0 never."""

    flow_scale: float = 1.0
    """Let a network find the motion on frames resized by 0.25, 0.5 or 2: below 1 for motion that is large in pixels."""

    warp_convention: Literal["corner", "half_pixel", "exact"] | None = None
    """Where the flows of super-slomo point; by default as the origin of the weights decides."""

    mean: tuple[float, float, float] | None = None
    """Mean red, green, blue in [0, 1] that super-slomo subtracts; by default as the origin of the weights decides."""

    def given(self) -> dict[str, Any]:
        """Return the options that were set to anything but their default."""
        fields = NetworkOptions.__dataclass_fields__
        return {name: getattr(self, name) for name in fields if getattr(self, name) != fields[name].default}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class InterpolateConfig(NetworkOptions):
    """How a run is interpolated; exactly one of factor, inter-frames, to-fps and times says where frames are made."""

    factor: int | None = None
    """Divide every gap between acquired frames into this many equal parts: 4 makes 3 frames in each gap."""

    inter_frames: int | None = None
    """Make this many frames in every gap (as the DSA literature counts): 3 is the same as factor 4."""

    to_fps: float | None = None
    """Resample true time to this many frames per second."""

    times: tuple[float, ...] | None = None
    """Make the frames at these times, in seconds from the first frame."""

    method: str = DEFAULT_METHOD
    """How frames are made; `scanweave info --methods` lists all."""

    seed: int = 0
    """Seed of anything random; the methods without training have nothing random."""

    tta: bool = False
    """Also make every frame from the pair turned by 180 degrees, and average (twice the time)."""

    regions: Literal["auto", "tags", "data", "off"] = "auto"
    """What is interpolated: auto takes the file's region tags if they are sound, else looks at the pixels; off
    interpolates the whole frame, burned-in text included."""

    interpolate_flow: bool = False
    """Interpolate colour flow, spectral, M-mode and palette Doppler too. Colours there are codes: blends of them mean
    nothing, so they are copied unless this is set."""

    duplicates: Literal["report", "drop"] = "report"
    """Exact repeats of the frame before: report them only, or take them off the time axis first."""

    time_axis: Literal["physical", "display"] = "physical"
    """DICOM frame times: physical keeps true time; display keeps the source's frame time, for viewers that ignore
    display rates, and makes every time measurement wrong by the factor."""

    playback_fps: float | None = None
    """Frames per second at which the result is meant to be shown; by default the source's rate, which plays it
    slower by the factor, or the new rate after --to-fps."""

    confidence: Literal["off", "frames", "map"] = "frames"
    """Calibrate on the run's own hidden frames and give each made frame its expected error; map also writes it per
    pixel, as OUTPUT.confidence.tif."""

    def __post_init__(self) -> None:
        """Refuse values that contradict each other.

        Raises:
            UsageError: Not exactly one way to say where frames are made, or a value out of range.
        """
        ways = {
            "--factor": self.factor,
            "--inter-frames": self.inter_frames,
            "--to-fps": self.to_fps,
            "--times": self.times,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            came = " and ".join(given) if given else "none"
            raise UsageError(
                f"exactly one of {', '.join(ways)} is needed, {came} came", remedy="for example --factor 4"
            )
        if self.factor is not None and self.factor < 1:
            raise UsageError(f"--factor {self.factor} is not a whole number of at least 1")
        if self.inter_frames is not None and self.inter_frames < 0:
            raise UsageError(f"--inter-frames {self.inter_frames} is negative")
        for name, rate in (("--to-fps", self.to_fps), ("--playback-fps", self.playback_fps)):
            if rate is not None and not 0 < rate < 1e6:
                raise UsageError(
                    f"{name} {rate} is not a frame rate", remedy="give frames per second, above 0 and below 1e6"
                )

    @property
    def divisor(self) -> int | None:
        """Parts that each gap is divided into, where all gaps are divided alike."""
        return self.factor if self.inter_frames is None else self.inter_frames + 1


_ADAPTER = TypeAdapter(InterpolateConfig)


def load_config(path: Path) -> dict[str, Any]:
    """Read options from a YAML file; names as on the command line, with ``-`` or ``_``.

    Raises:
        InputError: The file cannot be read or is not a mapping.
        UsageError: It names an option that does not exist.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the name") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"no readable YAML: {error}", path=path) from error
    if not isinstance(content, dict):
        raise InputError("no mapping of options", path=path, remedy="write lines such as `factor: 4`")
    options = {str(key).replace("-", "_"): value for key, value in content.items()}
    unknown = sorted(set(options) - set(InterpolateConfig.__dataclass_fields__))
    if unknown:
        raise UsageError(f"unknown options {', '.join(unknown)}", path=path, remedy="see scanweave interpolate --help")
    # YAML reads a bare `off` as false; where "off" is a choice, that is what was meant.
    choices = get_type_hints(InterpolateConfig)
    return {
        name: "off" if value is False and "off" in get_args(choices[name]) else value for name, value in options.items()
    }


def validated(options: dict[str, Any]) -> InterpolateConfig:
    """Return the configuration that `options` describe.

    Raises:
        UsageError: A value of the wrong type or out of range, named.
    """
    try:
        return _ADAPTER.validate_python(options)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'options'}: {item['msg']}, got {item['input']!r}"
            for item in error.errors()
        )
        raise UsageError(problems) from error


def dump_config(config: InterpolateConfig) -> str:
    """Return the configuration as YAML, defaults included."""
    return yaml.safe_dump(_ADAPTER.dump_python(config, mode="json"), sort_keys=False)
