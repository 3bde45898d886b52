#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "chat_json.h"
#include "prompt/prompt_format.h"

namespace hadal::prompt {
namespace {

// Every line of golden/<format>.jsonl is a conversation and the prompt that the models' own encoder
// makes of it (make_golden.py).
TEST(PromptGoldenTest, PromptsAreThoseOfTheModelsOwnEncoders) {
  size_t formats = 0;
  const std::filesystem::path folder = HADAL_SOURCE_DIR "/tests/prompt/golden";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jsonl") continue;
    const PromptFormat* format = find_format(entry.path().stem().string());
    ASSERT_NE(format, nullptr) << entry.path();
    ++formats;
    std::ifstream in(entry.path());
    int line_number = 0;
    for (std::string line; std::getline(in, line);) {
      ++line_number;
      const auto row = json::parse(line);
      ASSERT_TRUE(row) << entry.path() << ":" << line_number << row.error().message;
      const auto rendered = format->render(tests::chat_from_json(*row->find("chat")));
      const std::string where =
          entry.path().filename().string() + ":" + std::to_string(line_number);
      ASSERT_TRUE(rendered) << where << " " << rendered.error().message;
      EXPECT_EQ(rendered->text(), *row->string_at("prompt")) << where;
      EXPECT_EQ(rendered->starts_in_reasoning,
                rendered->text().ends_with("<think>") || rendered->text().ends_with("<think>\n"))
          << where;
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GT(line_number, 0) << entry.path();
  }
  EXPECT_EQ(formats, 9u);
}

}  // namespace
}  // namespace hadal::prompt
