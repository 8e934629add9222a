#include "cli/completion_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "cli/context.h"

namespace snapfaas::cli {
namespace {

// What may be typed next.
struct Word {
  std::string text;
  std::string description;
};

// One command: "/runtime/build" is `snapfaas runtime build`, "" the program itself.
struct Command {
  std::string path;
  std::vector<Word> subcommands;
  std::vector<Word> options;
};

std::vector<Word> OptionsOf(const CLI::App& app) {
  std::vector<Word> words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back({"--" + name, option->get_description()});
    for (const std::string& name : option->get_snames()) words.push_back({"-" + name, option->get_description()});
  }
  return words;
}

// CLI11's const lists of subcommands want a filter.
std::vector<const CLI::App*> SubcommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* subcommand) { return !subcommand->get_name().empty(); });
}

// `inherited` are options of the commands above, which are understood below as well (fallthrough).
void Collect(const CLI::App& app, const std::string& path, const std::vector<Word>& inherited,
             std::vector<Command>& commands) {
  Command command;
  command.path = path;
  command.options = OptionsOf(app);
  for (const Word& word : inherited) {
    const auto same = [&word](const Word& own) { return own.text == word.text; };
    if (std::none_of(command.options.begin(), command.options.end(), same)) command.options.push_back(word);
  }
  for (const CLI::App* subcommand : SubcommandsOf(app)) {
    command.subcommands.push_back({subcommand->get_name(), subcommand->get_description()});
  }
  const std::vector<Word> options = command.options;
  commands.push_back(std::move(command));
  for (const CLI::App* subcommand : SubcommandsOf(app)) {
    Collect(*subcommand, path + "/" + subcommand->get_name(), options, commands);
  }
}

std::vector<Command> CommandsOf(const CLI::App& root) {
  std::vector<Command> commands;
  Collect(root, "", {}, commands);
  return commands;
}

// In single quotes, for any of the shells.
std::string Quoted(std::string_view text, std::string_view escaped_quote) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += escaped_quote;
    } else if (c == '\n') {
      quoted += ' ';
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

constexpr std::string_view kPosixQuote = "'\\''";
constexpr std::string_view kFishQuote = "\\'";

// "/run|/runtime|/runtime/build".
std::string AllPaths(const std::vector<Command>& commands) {
  std::vector<std::string> paths;
  for (const Command& command : commands) {
    if (!command.path.empty()) paths.push_back(command.path);
  }
  return fmt::format("{}", fmt::join(paths, "|"));
}

std::vector<Word> WordsOf(const Command& command) {
  std::vector<Word> words = command.subcommands;
  words.insert(words.end(), command.options.begin(), command.options.end());
  return words;
}

std::string TextsOf(const std::vector<Word>& words) {
  std::string texts;
  for (const Word& word : words) texts += (texts.empty() ? "" : " ") + word.text;
  return texts;
}

void Print(const CLI::App& root, const std::string& shell) {
  const std::string script = shell == "bash"  ? BashCompletion(root)
                             : shell == "zsh" ? ZshCompletion(root)
                                              : FishCompletion(root);
  fmt::print("{}", script);
}

}  // namespace

std::string BashCompletion(const CLI::App& root) {
  const auto commands = CommandsOf(root);
  std::string cases;
  for (const Command& command : commands) {
    cases += fmt::format("    '{}') words='{}' options='{}' ;;\n", command.path, TextsOf(command.subcommands),
                         TextsOf(command.options));
  }
  return fmt::format(
      R"(# bash completion of snapfaas: source <(snapfaas completion bash)
_snapfaas() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path="" words="" options="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$path/$word" in
      {}) path="$path/$word" ;;
    esac
  done
  case "$path" in
{}  esac
  # Where neither is wanted, bash completes the names of files.
  [[ $current == -* ]] && words=$options
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _snapfaas snapfaas
)",
      AllPaths(commands), cases);
}

std::string ZshCompletion(const CLI::App& root) {
  const auto commands = CommandsOf(root);
  std::string cases;
  for (const Command& command : commands) {
    cases += fmt::format("    '{}') entries=(", command.path);
    for (const Word& word : WordsOf(command)) {
      // A colon parts the word from its description.
      cases += "\n      " + Quoted(word.text + ":" + word.description, kPosixQuote);
    }
    cases += ") ;;\n";
  }
  return fmt::format(
      R"(#compdef snapfaas
# zsh completion of snapfaas: source <(snapfaas completion zsh), or as _snapfaas in a folder of $fpath
_snapfaas() {{
  local path_so_far="" word
  local -a entries
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$path_so_far/$word" in
      {}) path_so_far="$path_so_far/$word" ;;
    esac
  done
  case "$path_so_far" in
{}  esac
  _describe snapfaas entries
  [[ "$PREFIX" == -* ]] || _files
}}
if [ "$funcstack[1]" = _snapfaas ]; then _snapfaas "$@"; else compdef _snapfaas snapfaas; fi
)",
      AllPaths(commands), cases);
}

std::string FishCompletion(const CLI::App& root) {
  const auto commands = CommandsOf(root);
  std::string paths;
  std::string lines;
  for (const Command& command : commands) {
    if (!command.path.empty()) paths += " " + Quoted(command.path, kFishQuote);
    for (const Word& word : WordsOf(command)) {
      lines += fmt::format("complete -c snapfaas -n \"test (__snapfaas_path) = '{}'\" -a {} -d {}\n", command.path,
                           Quoted(word.text, kFishQuote), Quoted(word.description, kFishQuote));
    }
  }
  return fmt::format(
      R"(# fish completion of snapfaas: snapfaas completion fish | source
function __snapfaas_path
    set -l path ""
    for word in (commandline -opc)[2..-1]
        if contains -- "$path/$word"{}
            set path "$path/$word"
        end
    end
    echo "$path"
end
{})",
      paths, lines);
}

void AddCompletionCommand(CLI::App& app, int& exit_code) {
  auto shell = std::make_shared<std::string>();
  auto* command = app.add_subcommand("completion", "Print what a shell needs to complete this program's commands");
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([&app, &exit_code, shell] {
    Print(app, *shell);
    exit_code = kExitOk;
  });
}

}  // namespace snapfaas::cli
