# Turns Markdown into HTML with Debian's kramdown: {"text": "# Title"} gives the page and its table of contents.
require "kramdown"

OPTIONS = { auto_ids: true, smart_quotes: "apos,apos,quot,quot", syntax_highlighter: nil }.freeze

# kramdown loads its parser and converter with the first document: they shall be in the function's snapshot.
Kramdown::Document.new("# Title", OPTIONS).to_html

def handler(event:, context:)
  text = event.fetch("text")
  raise ArgumentError, "text must be a string" unless text.is_a?(String)

  document = Kramdown::Document.new(text, OPTIONS)
  { html: document.to_html, contents: contents(document.root), words: text.scan(/[[:word:]]+/).size }
end

# The headings, with what links to them.
def contents(root)
  flatten(Kramdown::Converter::Toc.convert(root).first)
end

def flatten(entry)
  entry.children.flat_map do |child|
    heading = child.value
    [{ level: heading.options[:level], text: heading.options[:raw_text], id: child.attr[:id] }, *flatten(child)]
  end
end
