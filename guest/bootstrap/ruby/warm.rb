# A function for the warm-up alone: bootstrap.rb loads it as it loads any function.
require "json"
require "time"

def snapfaas_warm_up(event:, context:)
  total = event.fetch("list").select { |item| item.is_a?(Numeric) }.sum
  name = :"#{context.function_name}_#{total}"
  puts(format("")) if event.key?("log")
  raise ArgumentError, "no such #{name}" if event["fail"]
  event.no_such_method if event["stray"]

  { "name" => name.to_s.sub(/\d+/) { |digits| digits.rjust(4) }, "at" => Time.now.utc.iso8601(3), total: total,
    "left" => context.get_remaining_time_in_millis, "text" => event["text"].upcase, "words" => %w[b a].sort.join(" ") }
end
