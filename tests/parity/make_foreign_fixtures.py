#!/usr/bin/env python3
"""Writes the beginnings of files that other programs keep weights in, for networks/tests/weights/foreign.rs.

They are told by their content, so the truth is what those programs write: TensorFlow 2.21 (SavedModel,
checkpoints of both versions, a frozen graph, TensorFlow Lite, Keras), onnx 1.23, gguf 0.19, NumPy. Large
ones are cut. Needs an environment of its own with tensorflow-cpu, gguf and
onnx. Run from anywhere:

    python3 tests/parity/make_foreign_fixtures.py
"""

import os
import shutil
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import gguf
import numpy
import onnx
import tensorflow as tf

OUT = Path(__file__).resolve().parents[2] / "networks" / "tests" / "fixtures" / "weights" / "foreign"
KEPT = 2048
# Its last fields are what tells it from others.
WHOLE = ["model.ckpt.meta"]


def keras_and_tensorflow(folder):
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(2)])
    model.save(folder / "model.h5")
    model.export(folder / "saved")
    shutil.copy(folder / "saved" / "saved_model.pb", folder / "saved_model.pb")
    lite = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (folder / "model.tflite").write_bytes(lite)
    v1 = tf.compat.v1
    graph = v1.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        weights = v1.get_variable("v", shape=[3, 3], initializer=v1.ones_initializer())
        image = v1.placeholder(tf.float32, [1, 3], name="x")
        v1.matmul(image, weights, name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model.ckpt"))
        v1.train.Saver(write_version=1).save(session, str(folder / "first.ckpt"))
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())


def onnx_model(folder):
    value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "graph", [value("x")], [value("y")])
    onnx.save(onnx.helper.make_model(graph, producer_name="a test"), folder / "model.onnx")


def gguf_file(folder):
    writer = gguf.GGUFWriter(str(folder / "model.gguf"), "llama")
    writer.add_tensor("a", numpy.zeros((4, 4), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras_and_tensorflow(folder)
        onnx_model(folder)
        gguf_file(folder)
        numpy.savez(folder / "arrays.npz", w=numpy.zeros(3))
        numpy.save(folder / "array.npy", numpy.zeros(3))
        for name in [
            "model.h5",
            "saved_model.pb",
            "model.tflite",
            "model.ckpt.index",
            "model.ckpt.meta",
            "first.ckpt",
            "frozen.pb",
            "model.onnx",
            "model.gguf",
            "arrays.npz",
            "array.npy",
        ]:
            content = (folder / name).read_bytes()
            (OUT / name).write_bytes(content if name in WHOLE else content[:KEPT])


if __name__ == "__main__":
    main()
