#include <gmock/gmock.h>

#include "cli/call.h"
#include "core/json.h"
#include "report/run_folder.h"

namespace fathom::cli {
namespace {

using testing::HasSubstr;

class CompareCommand : public RunFolderTest {
 protected:
  /// What `fathom compare ARGUMENTS` prints.
  static std::string run(const std::string& arguments) { return call_line("compare " + arguments); }
};

TEST_F(CompareCommand, PrintsTheTableAndWritesPageAndJson) {
  const std::string a = make_run("pre", "pre", {30, 40}), b = make_run("lns", "lns", {29, 37});
  const std::string html = folder_ / "page.html", json = folder_ / "out.json";
  const std::string out = run(a + " " + b + " --html " + html + " --json " + json);
  EXPECT_THAT(out, HasSubstr("lns  lns"));
  EXPECT_THAT(out, HasSubstr("lns minus pre: validation loss -0.2000 +- 0.1000 nats"));
  EXPECT_THAT(out, HasSubstr("The page is in " + html));
  EXPECT_THAT(read_text_file(html), HasSubstr("pre and lns, side by side"));
  EXPECT_EQ(read_json(json)["runs"].size(), 2u);
}

TEST_F(CompareCommand, NeedsARunAndRefusesWhatIsNone) {
  EXPECT_THAT(error_of([&] { run(""); }), HasSubstr("runs is required; see fathom compare --help"));
  EXPECT_THAT(error_of([&] { run((folder_ / "none").string()); }),
              HasSubstr("none: no such folder or file; give the --out folder"));
  const std::string a = make_run("pre", "pre", {30});
  EXPECT_THAT(error_of([&] { run(a + " --html " + (folder_ / "no/page.html").string()); }),
              HasSubstr("no/page.html"));
}

}  // namespace
}  // namespace fathom::cli
