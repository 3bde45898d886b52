#include "apps/line_editor.h"

#include <histedit.h>
#include <langinfo.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>

namespace hadal::apps {
namespace {

constexpr int kHistoryLines = 1000;

// libedit edits whole characters only in a locale that has them.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::Impl {
  EditLine* edit = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string prompt;
  bool ended = false;

  static char* prompt_of(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self)->prompt.data();
  }
};

LineEditor::LineEditor() : impl_(std::make_unique<Impl>()) {
  use_utf8();
  Impl& m = *impl_;
  m.history = history_init();
  history(m.history, &m.event, H_SETSIZE, kHistoryLines);
  history(m.history, &m.event, H_SETUNIQUE, 1);
  m.edit = el_init("hadal", stdin, stdout, stderr);
  el_set(m.edit, EL_CLIENTDATA, &m);
  el_set(m.edit, EL_PROMPT, &Impl::prompt_of);
  el_set(m.edit, EL_EDITOR, "emacs");
  el_set(m.edit, EL_HIST, history, m.history);
  el_set(m.edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  // A Ctrl-D typed while an answer was written waits in the terminal's queue as a zero.
  el_set(m.edit, EL_BIND, "^@", "em-delete-or-list", nullptr);
}

LineEditor::~LineEditor() {
  el_end(impl_->edit);
  history_end(impl_->history);
}

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  Impl& m = *impl_;
  m.prompt = prompt;
  int count = 0;
  // el_gets prints the prompt before it takes the keys over: a Ctrl-D in between would be lost.
  el_set(m.edit, EL_PREP_TERM, 1);
  errno = 0;
  const char* line = el_gets(m.edit, &count);
  if (line == nullptr || count <= 0) {
    m.ended = errno != EINTR;
    el_reset(m.edit);
    return std::nullopt;
  }
  std::string out(line, static_cast<size_t>(count));
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool LineEditor::ended() const { return impl_->ended; }

void LineEditor::remember(const std::string& line) {
  if (!line.empty()) history(impl_->history, &impl_->event, H_ENTER, line.c_str());
}

}  // namespace hadal::apps
