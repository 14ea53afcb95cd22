#pragma once
// The files that go into a page, as they were when the library was built.

#include <string_view>

namespace fathom::assets {

std::string_view page_html();
std::string_view page_css();
std::string_view blocks_css();
std::string_view media_css();
std::string_view helpers_js();
std::string_view charts_js();
std::string_view heat_js();
std::string_view page_js();
/// Chart.js, minified, with its licence comment (MIT).
std::string_view chart_js();

}  // namespace fathom::assets
