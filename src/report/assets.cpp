#include "report/assets.h"

// The assembler copies the files into the object: no generated source of a megabyte, no escaping. The paths
// come from CMake, which also makes this object depend on the files.
#define FATHOM_EMBED(name, path)                                                               \
  asm(".pushsection .rodata\n"                                                                 \
      "fathom_asset_" #name "_begin:\n.incbin \"" path                                         \
      "\"\n"                                                                                   \
      "fathom_asset_" #name                                                                    \
      "_end:\n"                                                                                \
      ".popsection\n");                                                                        \
  extern "C" const char fathom_asset_##name##_begin[];                                         \
  extern "C" const char fathom_asset_##name##_end[];                                           \
  namespace fathom::assets {                                                                   \
  std::string_view name() { return {fathom_asset_##name##_begin, fathom_asset_##name##_end}; } \
  }

FATHOM_EMBED(page_html, FATHOM_ASSETS "/page.html")
FATHOM_EMBED(page_css, FATHOM_ASSETS "/page.css")
FATHOM_EMBED(blocks_css, FATHOM_ASSETS "/blocks.css")
FATHOM_EMBED(media_css, FATHOM_ASSETS "/media.css")
FATHOM_EMBED(helpers_js, FATHOM_ASSETS "/helpers.js")
FATHOM_EMBED(charts_js, FATHOM_ASSETS "/charts.js")
FATHOM_EMBED(heat_js, FATHOM_ASSETS "/heat.js")
FATHOM_EMBED(page_js, FATHOM_ASSETS "/page.js")
FATHOM_EMBED(chart_js, FATHOM_CHART_JS)
