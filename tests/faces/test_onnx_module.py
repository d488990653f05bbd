"""ONNX networks in torch against ONNX Runtime on the same file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.tiny_face_networks import (
    export,
    ir_net,
    mobile_face_net,
    onnxruntime_output,
    randomize,
)
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from stdrc_core.faces.onnx_file import read_onnx
from stdrc_core.faces.onnx_module import OPERATORS, OnnxModule

NETWORKS = {"ir": ir_net, "mobile": mobile_face_net}


def load(path: Path) -> OnnxModule:
    return OnnxModule(read_onnx(path), path)


def crops(num: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num, 3, 112, 112, generator=generator) * 2 - 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        name: export(randomize(build()), folder / f"{name}.onnx", crops(1))
        for name, build in NETWORKS.items()
    }


def assert_close(actual: Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Within `tolerance` of the largest value."""
    assert actual.shape == expected.shape
    error = np.abs(actual.detach().numpy() - expected).max()
    assert error <= tolerance * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("num", [1, 3])
def test_a_recognition_network_is_onnx_runtimes(files: dict[str, Path], name: str, num: int):
    x = crops(num)
    assert_close(load(files[name])(x), onnxruntime_output(files[name], x), 1e-5)


def test_the_networks_cover_what_insightfaces_hold(files: dict[str, Path]):
    used = {node.op_type for path in files.values() for node in onnx.load(path).graph.node}
    assert used >= {"Conv", "BatchNormalization", "PRelu", "Add", "Flatten", "Gemm", "Reshape"}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_network_that_was_exported(files: dict[str, Path], name: str):
    network = randomize(NETWORKS[name]())
    mine, theirs = crops(2).requires_grad_(), crops(2).requires_grad_()
    load(files[name])(mine).square().mean().backward()
    network(theirs).square().mean().backward()
    scale = theirs.grad.abs().max()
    assert scale > 0
    torch.testing.assert_close(mine.grad / scale, theirs.grad / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_opsets_before_and_after_11(tmp_path: Path, opset: int):
    """Clip, ReduceMean, Unsqueeze and Dropout changed between them."""

    class Varied(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.clamp(-0.7, 0.6)
            x = x.mean(dim=(2, 3), keepdim=True) + x.mean(dim=1, keepdim=True).squeeze(1).unsqueeze(
                1
            )
            return torch.flatten(nn.functional.dropout(x, training=False), 1)

    path = export(Varied(), tmp_path / "varied.onnx", crops(1), opset=opset)
    assert_close(load(path)(crops(2)), onnxruntime_output(path, crops(2)), 1e-6)


def one_operator(
    path: Path,
    operator: str,
    shape: list[int],
    *constants: np.ndarray | None,
    opset: int = 11,
    domain: str = "",
    extra_outputs: int = 0,
    **attributes,
) -> Path:
    """A network of one operator on its input and constants; None leaves an input out."""
    names = ["" if each is None else f"c{i}" for i, each in enumerate(constants)]
    outputs = ["y", *(f"y{i}" for i in range(extra_outputs))]
    node = helper.make_node(operator, ["x", *names], outputs, domain=domain, **attributes)
    weights = [
        numpy_helper.from_array(each, name)
        for each, name in zip(constants, names, strict=True)
        if each is not None
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [y], weights)
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=7), path)
    return path


def values(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


IMAGE = [2, 3, 9, 8]
WINDOW = {"kernel_shape": [3, 2], "strides": [2, 1]}
UNEVEN = {"pads": [1, 0, 2, 1]}
CASES = {
    # name -> operator, input shape, constants, attributes
    "conv": ("Conv", IMAGE, [values(4, 3, 3, 2), values(4)], {}),
    "conv_strided": ("Conv", IMAGE, [values(4, 3, 3, 2)], {**WINDOW, "dilations": [2, 1]}),
    "conv_uneven": ("Conv", IMAGE, [values(4, 3, 3, 2)], {**WINDOW, **UNEVEN}),
    "conv_depthwise": ("Conv", IMAGE, [values(3, 1, 3, 3)], {"group": 3, "pads": [1, 1, 1, 1]}),
    "mean_pool": ("AveragePool", IMAGE, [], WINDOW),
    "mean_pool_uneven": ("AveragePool", IMAGE, [], {**WINDOW, **UNEVEN}),
    "mean_pool_padded": ("AveragePool", IMAGE, [], {**WINDOW, **UNEVEN, "count_include_pad": 1}),
    "max_pool": ("MaxPool", IMAGE, [], WINDOW),
    "max_pool_uneven": ("MaxPool", IMAGE, [], {**WINDOW, **UNEVEN, "dilations": [1, 2]}),
    "global_pool": ("GlobalAveragePool", IMAGE, [], {}),
    "batch_norm": (
        "BatchNormalization",
        IMAGE,
        [values(3), values(3, seed=2), values(3, seed=3), np.abs(values(3, seed=4))],
        {"epsilon": 0.01, "momentum": 0.5},
    ),
    "batch_norm_rows": ("BatchNormalization", [4, 3], [np.abs(values(3))] * 4, {}),
    "prelu": ("PRelu", IMAGE, [values(3, 1, 1)], {}),
    "prelu_one_slope": ("PRelu", IMAGE, [values(1)], {}),
    "prelu_rows": ("PRelu", [4, 3], [values(3)], {}),
    "prelu_columns": ("PRelu", IMAGE, [values(8)], {}),
    "relu": ("Relu", IMAGE, [], {}),
    "sigmoid": ("Sigmoid", IMAGE, [], {}),
    "clip": ("Clip", IMAGE, [np.float32(-0.5), np.float32(0.4)], {}),
    "clip_above": ("Clip", IMAGE, [None, np.float32(0.4)], {}),
    "clip_below": ("Clip", IMAGE, [np.float32(-0.5)], {}),
    "clip_nothing": ("Clip", IMAGE, [], {}),
    "add": ("Add", IMAGE, [values(3, 1, 1)], {}),
    "sub": ("Sub", IMAGE, [values(1)], {}),
    "mul": ("Mul", IMAGE, [values(8)], {}),
    "div": ("Div", IMAGE, [np.float32(127.5)], {}),
    "matmul": ("MatMul", [4, 3], [values(3, 5)], {}),
    "gemm": ("Gemm", [4, 3], [values(3, 5), values(5)], {}),
    "gemm_linear": ("Gemm", [4, 3], [values(5, 3), values(1, 5)], {"transB": 1}),
    "gemm_scaled": ("Gemm", [3, 4], [values(3, 5), values(4, 1)], {"transA": 1, "beta": 0.5}),
    "gemm_plain": ("Gemm", [4, 3], [values(3, 5)], {"alpha": 2.0}),
    "flatten": ("Flatten", IMAGE, [], {}),
    "flatten_2": ("Flatten", IMAGE, [], {"axis": 2}),
    "flatten_all": ("Flatten", IMAGE, [], {"axis": 0}),
    "flatten_last": ("Flatten", IMAGE, [], {"axis": -1}),
    "reshape": ("Reshape", IMAGE, [whole(0, -1, 4)], {}),
    "transpose": ("Transpose", IMAGE, [], {"perm": [0, 2, 3, 1]}),
    "transpose_all": ("Transpose", IMAGE, [], {}),
    "concat": ("Concat", IMAGE, [values(2, 1, 9, 8)], {"axis": -3}),
    "reduce_mean": ("ReduceMean", IMAGE, [], {"axes": [-1, 2], "keepdims": 0}),
    "reduce_mean_all": ("ReduceMean", IMAGE, [], {}),
    "identity": ("Identity", IMAGE, [], {}),
    "dropout": ("Dropout", IMAGE, [], {"ratio": 0.9, "extra_outputs": 1}),
    "dropout_12": ("Dropout", IMAGE, [np.float32(0.9)], {"opset": 13}),
    "gather": ("Gather", IMAGE, [whole(2, 0, -1)], {"axis": 1}),
    "gather_one": ("Gather", IMAGE, [np.array(1)], {"axis": -1}),
    "unsqueeze": ("Unsqueeze", IMAGE, [], {"axes": [0, -1]}),
    "unsqueeze_13": ("Unsqueeze", IMAGE, [whole(1)], {"opset": 13}),
    "squeeze": ("Squeeze", [2, 1, 3, 1], [], {"axes": [-1]}),
    "squeeze_all": ("Squeeze", [2, 1, 3, 1], [], {}),
    "squeeze_13": ("Squeeze", [2, 1, 3, 1], [whole(1)], {"opset": 13}),
    "reduce_mean_18": ("ReduceMean", IMAGE, [whole(1)], {"opset": 18}),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operator_is_onnx_runtimes(tmp_path: Path, case: str):
    operator, shape, constants, attributes = CASES[case]
    path = one_operator(tmp_path / "one.onnx", operator, shape, *constants, **attributes)
    x = torch.from_numpy(values(*shape, seed=7))
    assert_close(load(path)(x), onnxruntime_output(path, x), 1e-6)


def test_every_operator_has_a_case(files: dict[str, Path]):
    used = {operator for operator, *_ in CASES.values()}
    used |= {node.op_type for path in files.values() for node in onnx.load(path).graph.node}
    assert set(OPERATORS) <= used


@pytest.mark.parametrize(
    ("operator", "attributes", "names"),
    [
        ("Erf", {}, "operator Erf is not supported"),
        ("Gelu", {"domain": "com.microsoft"}, r"operator com\.microsoft\.Gelu is not"),
        ("Relu", {"slope": 0.1}, "operator Relu is not supported: .*slope"),
        ("Conv", {"auto_pad": "SAME_UPPER"}, "operator Conv .*auto_pad = SAME_UPPER"),
        ("Conv", {"kernel_shape": [3]}, "operator Conv .*kernel_shape"),
        ("Conv", {"pads": [1, 1]}, "operator Conv .*pads"),
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "operator MaxPool .*ceil_mode = 1"),
        ("MaxPool", {}, "operator MaxPool is not supported: .*kernel_shape"),
        ("BatchNormalization", {"training_mode": 1}, "operator BatchNormalization .*training_mode"),
        ("Add", {"axis": 1, "broadcast": 1}, "operator Add is not supported"),
        ("Reshape", {"allowzero": 1}, "operator Reshape .*allowzero = 1"),
    ],
)
def test_what_is_not_supported_is_named_with_its_file(
    tmp_path: Path, operator: str, attributes: dict, names: str
):
    path = one_operator(tmp_path / "strange.onnx", operator, IMAGE, **attributes)
    with pytest.raises(ValueError, match=rf"strange\.onnx: {names}"):
        load(path)


def two_relus(path: Path, first: list[str], second: list[str], **changes) -> Path:
    nodes = [
        helper.make_node("MaxPool", ["x"], first, kernel_shape=[1, 1]),
        helper.make_node("Relu", second, ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)
    y = helper.make_tensor_value_info(changes.get("output", "y"), TensorProto.FLOAT, IMAGE)
    graph = helper.make_graph(nodes, "g", [x] * changes.get("num_inputs", 1), [y])
    if "num_inputs" in changes:
        graph.input[1].name = "second"
    onnx.save(helper.make_model(graph), path)
    return path


@pytest.mark.parametrize(
    ("first", "second", "changes", "sentence"),
    [
        (["a", "indices"], ["indices"], {}, "operator Relu reads 'indices', which nothing"),
        (["a"], ["later"], {}, "operator Relu reads 'later', which nothing before"),
        (["a"], ["a"], {"output": "z"}, "nothing computes the output 'z'"),
        (["a"], ["a"], {"num_inputs": 2}, "has 2 inputs, 1 outputs"),
    ],
)
def test_a_graph_that_does_not_hang_together_is_refused(
    tmp_path: Path, first: list[str], second: list[str], changes: dict, sentence: str
):
    path = two_relus(tmp_path / "torn.onnx", first, second, **changes)
    with pytest.raises(ValueError, match=rf"torn\.onnx:? {sentence}"):
        load(path)


def test_weights_are_frozen_follow_the_module_and_stay_out_of_checkpoints(files: dict[str, Path]):
    network = load(files["ir"])
    assert list(network.parameters()) == []
    assert len(list(network.buffers())) > 10
    assert not any(buffer.requires_grad for buffer in network.buffers())
    assert network.state_dict() == {}
    before = network(crops(1))
    assert torch.equal(network.train()(crops(1)), before)
    assert network.dtype == torch.float32
    double = network.double()(crops(1).double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), before, rtol=1e-4, atol=1e-4)
    assert {buffer.device.type for buffer in network.to("meta").buffers()} == {"meta"}


def test_half_precision_weights_become_float32(tmp_path: Path):
    path = one_operator(tmp_path / "half.onnx", "Mul", IMAGE, values(1).astype(np.float16))
    network = load(path)
    assert network.dtype == torch.float32
    assert network(torch.ones(IMAGE)).dtype == torch.float32


def test_weights_of_a_type_that_torch_cannot_take_are_refused(tmp_path: Path):
    path = one_operator(tmp_path / "text.onnx", "Mul", IMAGE, np.array(["a"], dtype=object))
    with pytest.raises(ValueError, match=r"text\.onnx: weight 'c0' is of a type that is not"):
        load(path)


@pytest.mark.parametrize("num", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("fixed", [None, 1, 2])
def test_any_batch_goes_through_a_network_of_a_fixed_one(
    tmp_path: Path, num: int, fixed: int | None
):
    """`view` with the batch written into the file would mix the images of another batch."""
    network = randomize(nn.Sequential(nn.Conv2d(3, 2, 28, 28), nn.Flatten(), nn.Linear(32, 4)))
    free = () if fixed else (0,)
    path = export(network, tmp_path / "n.onnx", crops(fixed or 1), free=free)
    x = crops(num).requires_grad_()
    output = load(path)(x)
    torch.testing.assert_close(output, network(x), rtol=1e-4, atol=1e-5)
    output.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("shape", [(3, 112, 112), (1, 3, 112, 100), (1, 1, 112, 112)])
def test_an_input_of_another_shape_is_refused(files: dict[str, Path], shape: tuple[int, ...]):
    with pytest.raises(
        ValueError, match=r"^input had shape .*; the network needs \[B, 3, 112, 112\]"
    ):
        load(files["ir"])(torch.zeros(shape))


@pytest.mark.parametrize(
    "content", [None, b"", b"<!DOCTYPE html><p>not found", b"version https://git-lfs", b"\x08\x07"]
)
def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx .*needs a whole \.onnx file"):
        read_onnx(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, files: dict[str, Path], share: float):
    whole_file = files["ir"].read_bytes()
    path = tmp_path / "short.onnx"
    path.write_bytes(whole_file[: int(len(whole_file) * share)])
    with pytest.raises(ValueError, match=r"short\.onnx .*needs a whole \.onnx file"):
        read_onnx(path)


def test_without_gradients_what_is_read_is_let_go(files: dict[str, Path]):
    """What a step holds besides weights is what later steps read, not the whole network."""
    network = load(files["ir"])
    alive, most = set(), 0
    for step in network._steps:
        alive.add(step.output)
        most = max(most, len(alive))
        alive -= set(step.last_read)
    assert alive == {network._output}
    assert most <= 4
