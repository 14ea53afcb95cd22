#pragma once
// The files that go into a page, as they were when the library was built.

#include <string_view>

namespace fathom::assets {

std::string_view page_html();
std::string_view page_css();
std::string_view page_js();
/// Chart.js, minified, with its licence comment (MIT).
std::string_view chart_js();

}  // namespace fathom::assets
