// Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
//
// Classifies a video with an exported TorchScript file, without Python.
//
//     classify_video network.pt          prints the size of the frames, WxH
//     classify_video network.pt FRAMES   classifies raw RGB24 frames; - is standard input
//
// See README.md for the frames that it expects.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

struct Input {
  int64_t frames, channels, height, width;
};

// The file's metadata; docs/deploy.md lists them.
Input read_input(const torch::jit::ExtraFilesMap& about) {
  if (about.at("input.shape").empty())
    throw std::runtime_error("the file has no metadata; write it with run export");
  std::istringstream shape(about.at("input.shape"));
  std::string batch, rest;
  Input input{};
  shape >> batch >> input.frames >> input.channels >> input.height >> input.width;
  if (!shape || shape >> rest || about.at("input.dtype") != "uint8" ||
      about.at("input.views") != "1")
    throw std::runtime_error(
        "the file takes " + about.at("input.dtype") + " input of shape (" +
        about.at("input.shape") + ") with " + about.at("input.views") +
        " views, expected uint8 frames (batch T 3 H W) with 1 view");
  return input;
}

// Returns T frames from the centers of T equal parts of the video, (1, T, H, W, 3).
at::Tensor sample(const std::vector<char>& video, const Input& input) {
  const int64_t size = input.height * input.width * input.channels;
  const int64_t total = static_cast<int64_t>(video.size()) / size;
  if (total == 0 || static_cast<int64_t>(video.size()) % size != 0)
    throw std::runtime_error(
        std::to_string(video.size()) + " bytes are not whole RGB24 frames of " +
        std::to_string(input.width) + "x" + std::to_string(input.height));
  at::Tensor clip =
      at::empty({1, input.frames, input.height, input.width, input.channels}, at::kByte);
  for (int64_t i = 0; i < input.frames; ++i) {
    const int64_t frame = (2 * i + 1) * total / (2 * input.frames);
    std::copy_n(video.data() + frame * size, size,
                reinterpret_cast<char*>(clip.data_ptr<uint8_t>()) + i * size);
  }
  return clip;
}

std::vector<char> read(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + " cannot be opened");
  }
  std::istream& source = path == "-" ? std::cin : file;
  return {std::istreambuf_iterator<char>(source), {}};
}

int run(const std::vector<std::string>& args) {
  if (args.empty() || args.size() > 2) {
    std::cerr << "usage: classify_video network.pt [FRAMES]\n";
    return 2;
  }
  torch::jit::ExtraFilesMap about{
      {"classes", ""}, {"input.shape", ""}, {"input.dtype", ""}, {"input.views", ""}};
  c10::InferenceMode guard;
  torch::jit::Module network = torch::jit::load(args[0], at::kCPU, about);
  const Input input = read_input(about);
  if (args.size() == 1) {
    std::cout << input.width << "x" << input.height << "\n";
    return 0;
  }
  const at::Tensor clip = sample(read(args[1]), input).permute({0, 1, 4, 2, 3});
  const at::Tensor probabilities = network.forward({clip.contiguous()}).toTensor()[0];

  std::vector<std::string> names;
  std::istringstream lines(about["classes"]);
  for (std::string name; std::getline(lines, name);) names.push_back(name);
  const auto [values, labels] =
      probabilities.topk(std::min<int64_t>(5, probabilities.numel()));
  for (int64_t i = 0; i < values.numel(); ++i)
    std::printf("%9.4f%%  %s\n", 100 * values[i].item<double>(),
                names.at(labels[i].item<int64_t>()).c_str());
  return 0;
}

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const c10::Error& error) {
    std::cerr << "error: " << error.what_without_backtrace() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
