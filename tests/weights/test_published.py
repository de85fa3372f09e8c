"""Published layouts: read strictly, written so that they read back the same."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from scanweave import weights
from scanweave.errors import UsageError, WeightsError
from scanweave.models import MostDsa, SuperSlomo, create
from scanweave.weights.most_dsa import infer_config, trained_times


@pytest.fixture(scope="module")
def published_keys(goldens):
    return json.loads((goldens / "most_dsa" / "keys.json").read_text())


def as_state(keys: dict[str, object]) -> dict[str, torch.Tensor]:
    shapes = {key: spec["shape"] if isinstance(spec, dict) else spec for key, spec in keys.items()}
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def test_widths_and_depths_follow_from_published_shapes(published_keys):
    whole = {"key": 16, "intra": 1, "context": 15, "heads": 4, "mlp_ratio": 4}
    assert infer_config(as_state(published_keys["network"])) == {"width": 32, "depths": (2, 2, 2, 4), **whole}
    small = as_state(published_keys["variant_F16_depth2222"])
    assert infer_config(small) == {"width": 16, "depths": (2, 2, 2, 2), **whole}
    table = {key: t for key, t in as_state(published_keys["network"]).items() if "pos_conv" not in key}
    table |= as_state(published_keys["variant_global_lambda_n32_extra"])
    assert infer_config(table)["map_side"] == 32


@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_most_dsa_with_and_without_prefix(prefix, most_dsa, same, tmp_path):
    path = tmp_path / "3D-vas-Inf3.pkl"
    torch.save({f"{prefix}{key}": tensor for key, tensor in most_dsa.state_dict().items()}, path)
    network = weights.load_published("most-dsa", path)
    same(most_dsa, network)
    card = weights.card_of(network)
    assert card.trained_times == (0.25, 0.5, 0.75)
    assert card.untrained([0.25, 0.3, 0.7500001]) == (0.3,)
    assert card.origin == path.name
    assert len(card.sha256) == 64
    assert bool(card.notes) == bool(prefix)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("Inf1.pkl", (0.5,)),
        ("inf2.pkl", (1 / 3, 2 / 3)),
        ("2D-head-Inf3.pkl", (0.25, 0.5, 0.75)),
        ("Inf4.pkl", None),
        ("Inf12.pkl", None),
        ("mine--Best.pkl", None),
        ("reinf1.pkl", None),
    ],
)
def test_the_name_of_a_file_tells_its_times(name, times):
    assert trained_times(Path(name)) == (None if times is None else pytest.approx(times))


@pytest.mark.parametrize("config", [{}, {"map_side": 3}])
def test_loading_leaves_random_numbers_alone(config, most_dsa):
    state = MostDsa(replace(most_dsa.config, **config)).state_dict()
    before = torch.get_rng_state()
    network = weights.load_published("most-dsa", state)
    assert torch.equal(torch.get_rng_state(), before)
    assert network.config.map_side == config.get("map_side")


def test_tensors_of_a_mapping_stay_the_callers(dsa_state):
    network = weights.load_published("most-dsa", dsa_state)
    kept = {key: tensor.clone() for key, tensor in dsa_state.items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert all(torch.equal(dsa_state[key], tensor) for key, tensor in kept.items())


def test_export_is_in_the_authors_layout(most_dsa, same, tmp_path):
    path = weights.export_published("most-dsa", most_dsa, tmp_path / "Inf1.pkl")
    written = torch.load(path, weights_only=True)
    assert list(written) == [f"module.{key}" for key in most_dsa.state_dict()]
    same(most_dsa, weights.load_published("most-dsa", path))
    assert [item.name for item in tmp_path.iterdir()] == ["Inf1.pkl"]


def test_a_name_that_tells_other_times_is_warned_of(most_dsa, tmp_path):
    network = weights.load_published("most-dsa", weights.export_published("most-dsa", most_dsa, tmp_path / "Inf1.pkl"))
    with pytest.warns(weights.WeightsWarning, match="trained for 0.5 is told by a name with Inf1, not best.pkl"):
        weights.export_published("most-dsa", network, tmp_path / "best.pkl")
    weights.export_published("most-dsa", network, tmp_path / "tuned-Inf1.pkl")


def test_lists_of_what_does_not_fit(dsa_state, tmp_path):
    del dsa_state["module.unet.conv.weight"], dsa_state["module.feature_bone.norm4.bias"]
    dsa_state["module.feature_bone.block9"] = torch.zeros(1)
    dsa_state["module.unet.conv.bias"] = torch.zeros(4)
    dsa_state["module.feature_bone.norm4.weight"][0] = float("nan")
    torch.save(dsa_state, tmp_path / "a.pkl")
    with pytest.raises(WeightsError) as refusal:
        weights.load_published("most-dsa", tmp_path / "a.pkl")
    text = str(refusal.value)
    assert "2 missing (feature_bone.norm4.bias, unet.conv.weight)" in text
    assert "1 unexpected (feature_bone.block9)" in text
    assert "1 misshapen (unet.conv.bias [4] for [3])" in text
    assert "1 unsound (feature_bone.norm4.weight)" in text
    assert "GaraMoSt" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(value, dsa_state):
    dsa_state["module.unet.conv.weight"][0, 0, 0, 0] = value
    with pytest.raises(WeightsError, match=r"1 unsound \(unet\.conv\.weight\)"):
        weights.load_published("most-dsa", dsa_state)


@pytest.mark.parametrize(
    "spoilt",
    [torch.zeros(3, dtype=torch.complex64), torch.zeros(3, dtype=torch.int64), torch.zeros(3).to_sparse(), 3.0, "a"],
)
def test_what_is_no_real_tensor_is_refused(spoilt, dsa_state):
    dsa_state["module.unet.conv.bias"] = spoilt
    with pytest.raises(WeightsError, match=r"unet\.conv\.bias"):
        weights.load_published("most-dsa", dsa_state)


def test_a_tensor_that_claims_more_than_it_holds_costs_nothing(dsa_state, tmp_path):
    dsa_state["module.feature_bone.block1.conv.0.weight"] = torch.zeros(1).expand(1 << 20, 3, 3, 3)
    torch.save(dsa_state, tmp_path / "a.pkl")
    with pytest.raises(WeightsError):
        weights.load_published("most-dsa", tmp_path / "a.pkl")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_with_a_note(dtype, dsa_state):
    stored = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in dsa_state.items()}
    network = weights.load_published("most-dsa", stored)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert any("used as float32" in note for note in weights.card_of(network).notes)
    assert torch.equal(network.unet.conv.bias, stored["module.unet.conv.bias"].float())


def test_counts_of_batches_and_cached_tables_may_differ(dsa_state, most_dsa, same):
    fewer = {key: tensor for key, tensor in dsa_state.items() if "num_batches_tracked" not in key}
    fewer["module.feature_bone.block4.0.attn_mask"] = torch.zeros(2)
    same(most_dsa, weights.load_published("most-dsa", fewer))


def test_the_callers_config_goes_before_the_shapes(dsa_state):
    with pytest.raises(WeightsError, match="misshapen"):
        weights.load_published("most-dsa", dsa_state, width=8)
    with pytest.raises(UsageError, match="no option breadth"):
        weights.load_published("most-dsa", dsa_state, breadth=8)
    with pytest.raises(UsageError, match="width 'wide'"):
        weights.load_published("most-dsa", dsa_state, width="wide")
    with pytest.raises(UsageError, match="divisible"):
        weights.load_published("most-dsa", dsa_state, heads=7)
    with pytest.raises(UsageError, match="no network"):
        weights.load_published("least-dsa", dsa_state)


@pytest.mark.parametrize(
    ("keys", "seen"),
    [
        (["module.feature_bone.norm4.bias"], "most-dsa"),
        (["module.fnet.conv1.weight"], "raft"),
        (["conv_first_hi.weight", "conv_first.weight"], "edvr-stf"),
        (["features.0.weight"], "VGG"),
        (["conv1.weight", "down5.conv1.weight"], "one of the two networks"),
        (["a", "b"], "holds nothing of super-slomo, but a, b"),
        ([], "nothing"),
    ],
)
def test_the_right_network_of_a_wrong_file_is_named(keys, seen):
    with pytest.raises(WeightsError, match=seen):
        weights.load_published("super-slomo", {key: torch.zeros(1) for key in keys})


def test_super_slomo_given_to_most_dsa(goldens):
    with pytest.raises(WeightsError, match=r"weights of super-slomo, not of most-dsa .*use it with super-slomo"):
        weights.load_published("most-dsa", goldens / "slowmo_echo" / "container_zip.ckpt")


def test_published_keys_in_plain_safetensors(most_dsa, same, tmp_path):
    safetensors.torch.save_file(dict(most_dsa.state_dict()), tmp_path / "Inf1.safetensors")
    same(most_dsa, weights.load_published("most-dsa", tmp_path / "Inf1.safetensors"))


@pytest.mark.parametrize(
    ("name", "convention", "mean"),
    [("legacy", "corner", (0.429, 0.431, 0.397)), ("zip", "half_pixel", (0.186, 0.184, 0.206))],
)
def test_miniature_containers_tell_their_history_and_what_they_lack(name, convention, mean, goldens):
    path = goldens / "slowmo_echo" / f"container_{name}.ckpt"
    found = weights.examine(weights.read_content(path))
    assert found.card.config == {"warp_convention": convention, "mean": mean}
    assert all(decision.sure for decision in found.card.decisions.values())
    assert found.card.training["epoch"] == 4
    assert found.card.training["valPSNR"] == [[25.0], [26.0], [], [], [27.0]]
    assert (len(found.missing), found.unexpected, found.misshapen) == (88, (), ())
    assert found.missing[0] == "state_dictFC.conv1.weight"
    with pytest.raises(WeightsError, match=r"88 missing \(state_dictFC\.conv1\.weight.* and 84 more\)"):
        weights.load_published("super-slomo", path)


def test_a_bare_pair_means_the_echo_program_with_a_warning(slomo_states):
    with pytest.warns(weights.WeightsWarning) as said:
        network = weights.load_published("super-slomo", slomo_states)
    assert [str(warning.message).split(" ")[0] for warning in said] == ["warp_convention", "mean"]
    assert network.config.warp_convention == "half_pixel"
    assert network.config.mean == (0.186, 0.184, 0.206)
    assert torch.equal(network.flow.conv3.weight, slomo_states["state_dictFC"]["conv3.weight"])
    assert torch.equal(network.refine.conv3.bias, slomo_states["state_dictAT"]["conv3.bias"])
    assert network.mean.flatten().tolist() == pytest.approx([0.186, 0.184, 0.206])


def test_what_the_caller_gives_is_taken_without_a_warning(slomo_states):
    prefixed = {part: {f"module.{key}": t for key, t in state.items()} for part, state in slomo_states.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = weights.load_published("super-slomo", prefixed, warp_convention="exact", mean=(0.1, 0.2, 0.3))
    assert (network.config.warp_convention, network.config.mean) == ("exact", (0.1, 0.2, 0.3))
    decision = weights.card_of(network).decisions["warp_convention"]
    assert (decision.value, decision.why, decision.sure) == ("exact", "given by the caller", True)


def test_swapped_networks_are_said_to_be_swapped(slomo_states):
    swapped = {"state_dictFC": slomo_states["state_dictAT"], "state_dictAT": slomo_states["state_dictFC"]}
    with pytest.raises(WeightsError, match="swapped"):
        weights.load_published("super-slomo", swapped)


def test_a_missing_network_is_listed(slomo_states):
    with pytest.raises(WeightsError, match=r"46 missing \(state_dictAT\."):
        weights.load_published("super-slomo", {"state_dictFC": slomo_states["state_dictFC"]})
    with pytest.raises(WeightsError, match="state_dictFC is a int"):
        weights.load_published("super-slomo", {"state_dictFC": 3})


def test_a_corner_network_goes_out_and_comes_back(slomo, slomo_states, same, tmp_path):
    """Through the authors' dict, by the old container, with the history that it came with."""
    history = {"Detail": "End to end Super SloMo.", "epoch": 199, "valPSNR": [[25.0], [26.5]]}
    given = {**history, "timestamp": _moment(2018), **slomo_states}
    network = weights.load_published("super-slomo", given, mean=(0.186, 0.184, 0.206))
    same(slomo, network)
    with pytest.warns(weights.WeightsWarning, match="cannot tell mean"):
        path = weights.export_published("super-slomo", network, tmp_path / "SuperSloMo39.ckpt")
    assert path.read_bytes()[:2] == b"\x80\x02"
    content = weights.read_content(path)
    assert content.items["timestamp"] == _moment(2018)
    assert {key: content.items[key] for key in history} == history
    again = weights.load_published("super-slomo", path, mean=(0.186, 0.184, 0.206))
    same(network, again)


def _moment(year: int):
    import datetime

    return datetime.datetime(year, 6, 1, 12, 0)


def test_export_of_another_network_is_refused(most_dsa, tmp_path):
    with pytest.raises(UsageError, match="most-dsa, not super-slomo"):
        weights.export_published("super-slomo", most_dsa, tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match="no published network"):
        weights.export_published("super-slomo", torch.nn.Linear(1, 1), tmp_path / "a.ckpt")
    assert not list(tmp_path.iterdir())


def test_every_network_has_a_layout():
    from scanweave.models import NETWORKS

    assert set(weights.LAYOUTS) == set(NETWORKS)
    assert isinstance(create("super-slomo"), SuperSlomo)
