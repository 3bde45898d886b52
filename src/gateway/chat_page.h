#pragma once

#include <string_view>

namespace hadal::gateway {

/// The built-in chat page: chat_page.html, as it was when the program was built.
std::string_view chat_page_html();

}  // namespace hadal::gateway
