# The Ruby bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
#
# Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
# every restored VM while a caller waits, so it touches little memory and reads as few files as it can.

# Some of these are here for the functions' sake: what most functions require is in the snapshot already. Together they
# are a tenth of it. openssl, net/http and csv, half a megabyte to 2.5 each, are left to whoever needs them.
require "base64"
require "bigdecimal"
require "date"
require "delegate"
require "digest"
require "digest/sha2"
require "erb"
require "fiddle"
require "fileutils"
require "forwardable"
require "json"
require "logger"
require "ostruct"
require "pp"
require "securerandom"
require "set"
require "stringio"
require "strscan"
require "tempfile"
require "time"
require "uri"
require "yaml"
require "zlib"

require_relative "snapstart"

module SnapFaaS
  CHANNEL_FD = 3
  CONTROL_IN_FD = 4
  CONTROL_OUT_FD = 5

  TASK_ROOT = "/srv"
  # The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run
  # it.
  LAMBDA_TASK_ROOT = "/var/task"
  CONFIGURATION = ".snapfaas/function.json"
  RUNTIME_FOLDER = "/usr/lib/snapfaas"
  RUBY_ABI = RbConfig::CONFIG.fetch("ruby_version")
  # src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
  MAX_FRAME_BYTES = 6_291_556 + 64 * 1024
  MAX_RESPONSE_BYTES = 6_291_556
  # An error report must fit a frame whatever a function puts into it.
  MAX_MESSAGE_CHARACTERS = 256 * 1024
  MAX_STACK_LINES = 100
  MAX_STACK_LINE_CHARACTERS = 4 * 1024
  # Deeper than JSON's default of 100; what refers to itself is still found out.
  MAX_NESTING = 1000

  HANDLER_FILES = %w[app workload].freeze
  HANDLERS = %i[handler handle].freeze
  HANDLER_FORMS = "must be FILENAME.METHOD or FILENAME.CLASS.METHOD, where FILENAME.rb is a file of the function and " \
                  "CLASS a class or module that has METHOD as a method of its own"

  # The host has broken the framing: the channel is of no further use.
  class ChannelError < StandardError; end

  # The function cannot be loaded. `report` is the error to answer with.
  class LoadFailure < StandardError
    attr_reader :report

    def initialize(report)
      super(report["errorMessage"])
      @report = report
    end
  end

  # Frames over a descriptor that is read and written in pieces of any size.
  class Channel
    HEADER = /\A([^ \n]+) ([0-9]{1,9})\n\z/n.freeze

    def initialize(io)
      @io = io
      @buffer = String.new(encoding: Encoding::BINARY)
    end

    # The next [kind, payload].
    def read_frame
      until (last = @buffer.index("\n"))
        raise ChannelError, "a frame header without an end" if @buffer.bytesize > 64

        fill(4096)
      end
      kind, size = parse_header(@buffer.slice!(0..last))
      fill(size - @buffer.bytesize) while @buffer.bytesize < size
      [kind, take(size)]
    end

    def write_frame(kind, payload)
      data = "#{kind} #{payload.bytesize}\n".b << payload.b
      while (written = @io.syswrite(data)) < data.bytesize
        data = data.byteslice(written..)
      end
    end

    private

    def parse_header(line)
      match = HEADER.match(line)
      raise ChannelError, "a malformed frame header" if match.nil? || match[2].to_i > MAX_FRAME_BYTES

      [match[1], match[2].to_i]
    end

    def take(size)
      return @buffer.slice!(0, size) if @buffer.bytesize > size

      # A large payload is not copied.
      payload = @buffer
      @buffer = String.new(encoding: Encoding::BINARY)
      payload
    end

    def fill(wanted)
      @buffer << read([[wanted, 4096].max, 1 << 20].min)
    end

    # A virtio port reads as ended while no host is connected to it; the host may come back.
    def read(size)
      pause = 0.001
      begin
        @io.sysread(size)
      rescue EOFError
        sleep(pause)
        pause = [2 * pause, 0.05].min
        retry
      end
    end
  end

  # What a handler gets as `context`. Of a deployed function the environment says what the host does not.
  class Context
    attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
                :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms

    def initialize(values)
      @aws_request_id = (values["requestId"] || SecureRandom.uuid).to_s
      @function_name = (values["functionName"] || ENV["AWS_LAMBDA_FUNCTION_NAME"] || "function").to_s
      @function_version = (values["functionVersion"] || ENV["AWS_LAMBDA_FUNCTION_VERSION"] || "$LATEST").to_s
      @invoked_function_arn = values["invokedFunctionArn"].to_s
      @memory_limit_in_mb = (values["memoryLimitInMB"] || ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]).to_s
      @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"] || "/aws/lambda/#{@function_name}"
      @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"] ||
                         SnapFaaS.log_stream_name(@function_version, @aws_request_id.delete("-"))
      @identity = nil
      @client_context = values["clientContext"]
      @deadline_ms = values["deadlineMs"].is_a?(Numeric) ? values["deadlineMs"].to_i : 0
    end

    def get_remaining_time_in_millis
      [0, @deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)].max
    end
  end

  class << self
    def main
      channel = Channel.new(IO.for_fd(CHANNEL_FD, "r+b", autoclose: false))
      @control_in = IO.for_fd(CONTROL_IN_FD, "rb", autoclose: false)
      @control_out = IO.for_fd(CONTROL_OUT_FD, "wb", autoclose: false)
      @main = TOPLEVEL_BINDING.receiver
      @deployed = false
      set_up_paths
      warm_up
      settle_heap
      say("ready")
      respond = start(channel, hear)
      serve(channel, respond)
    rescue ChannelError, JSON::ParserError => e
      abort("snapfaas-bootstrap: the host sent #{e.message}")
    end

    def log_stream_name(version, unique)
      "#{Time.now.utc.strftime('%Y/%m/%d')}/[#{version}]#{unique}"
    end

    private

    # ---- before the snapshot ---------------------------------------------------------------------------------------

    def set_up_paths
      $stdout.sync = true
      $stderr.sync = true
      $LOAD_PATH.unshift(TASK_ROOT)
      # The last is where `dpkg -x some.deb package` puts Debian's libraries.
      $LOAD_PATH.push("#{TASK_ROOT}/package", "#{TASK_ROOT}/package/usr/lib/ruby/vendor_ruby", RUNTIME_FOLDER)
    end

    # Runs the code of a first request once, so that its pages and caches are in the snapshot.
    def warm_up
      reseed("0")
      require File.join(__dir__, "warm")
      handler = adapt(@main.method(:snapfaas_warm_up))
      context = { "functionName" => "f", "requestId" => "r", "deadlineMs" => 1e13, "memoryLimitInMB" => 128 }
      event = '{"list": [1, 2.5, null, true], "text": "\u00e4", "nested": {"a": {}}'
      ["", ', "log": 1', ', "fail": 1', ', "stray": 1'].each { |more| answer(handler, "#{event}#{more}}", context) }
      answer(handler, "not json", context)
      begin
        JSON.pretty_generate(report_of(Exception.new("e")))
        require "#{TASK_ROOT}/no_such_file"
      rescue LoadError => e
        report_of(e, "Init")
      end
      flush_output
      # As if it had never been.
      Object.send(:remove_method, :snapfaas_warm_up)
    end

    # The objects are put together, those of the start being scattered over all pages, and made old, so that the
    # collections to come have nothing to write to them: an object is old when it has outlived three.
    def settle_heap
      GC.start
      GC.compact
      make_old
      fill_holes
    end

    def make_old
      3.times { GC.start }
    end

    # malloc would give the function what the start-up has freed, a little on each of hundreds of pages, every one of
    # which would be copied in every restored VM. So all that is free below the end of the heap is taken, for good:
    # what the function allocates then lies on pages of its own, side by side. Larger sizes first, since smaller ones
    # are cut from what larger ones leave.
    def fill_holes
      last = Fiddle.malloc(64 * 1024)
      [16_384, 8192, 4096, 2048, 1536, *(24..1048).step(16).to_a.reverse].each do |size|
        nil until Fiddle.malloc(size) > last
      end
    end

    # ---- the function ----------------------------------------------------------------------------------------------

    # What answers events: called with (payload, context values), it gives [kind, payload].
    def start(channel, command)
      respond = load_function(command)
    rescue LoadFailure => e
      respond = report_failure(channel, e)
      say("failed")
      respond
    else
      flush_output
      say("loaded")
      return respond unless command.end_with?(" checkpoint")

      begin
        resume(hear)
        respond
      rescue LoadFailure => e
        report_failure(channel, e)
      end
    end

    def load_function(command)
      word, argument = command.split(" ", 2)
      raise LoadFailure, make_report("Runtime.InitError", argument) if word == "fail"

      abort("the agent said '#{command[0, 80]}'") unless word == "load"
      seed, snapshot = argument.split(" ", 2)
      ENV["AWS_LAMBDA_INITIALIZATION_TYPE"] = snapshot ? "snap-start" : "on-demand"
      reseed(seed)
      configuration = read_configuration
      handler = configuration ? load_deployed(configuration) : load_folder
      if snapshot
        guard("Init") { SnapStart.run_before_snapshot }
        # What the function has loaded; moving what the language's snapshot holds would put all of it into this one too.
        make_old
      end
      ->(payload, context_values) { answer(handler, payload, context_values) }
    end

    # Behind the function snapshot.
    def resume(command)
      word, seed = command.split(" ", 2)
      abort("the agent said '#{command[0, 80]}'") unless word == "resume"
      reseed(seed)
      renew_log_stream_name if @deployed
      guard("Init") { SnapStart.run_after_restore }
    end

    # Every generator that was seeded in the snapshot would give the same numbers in each VM restored from it.
    # SecureRandom asks the kernel, which has been reseeded.
    def reseed(seed)
      srand(Integer(seed, 16))
      OpenSSL::Random.random_add(Random.urandom(32), 32.0) if defined?(::OpenSSL::Random)
    end

    # How a deployed function is to be run; nil of a mere folder.
    def read_configuration
      path = File.join(TASK_ROOT, CONFIGURATION)
      return nil unless File.exist?(path)

      configuration = JSON.parse(File.read(path, encoding: "UTF-8"))
      return configuration if configuration.is_a?(Hash) && configuration["handler"].is_a?(String)

      raise LoadFailure, make_report("Runtime.InitError", "#{CONFIGURATION} names no handler")
    rescue SystemCallError, JSON::ParserError => e
      raise LoadFailure, make_report("Runtime.InitError", "#{CONFIGURATION} cannot be read: #{e.message}")
    end

    def load_deployed(configuration)
      set_up_environment(configuration)
      @deployed = true
      $LOAD_PATH.map! { |folder| folder.sub(/\A#{TASK_ROOT}(?=\/|\z)/o, LAMBDA_TASK_ROOT) }
      $LOAD_PATH.unshift(*ENV.fetch("RUBYLIB", "").split(":").reject(&:empty?))
      Dir.chdir(LAMBDA_TASK_ROOT)
      use_gems(LAMBDA_TASK_ROOT)
      configured_handler(configuration["handler"])
    end

    def load_folder
      Dir.chdir(TASK_ROOT)
      use_gems(TASK_ROOT)
      found = HANDLER_FILES.find { |name| File.file?("#{TASK_ROOT}/#{name}.rb") }
      unless found
        raise LoadFailure, make_report("Init<LoadError>", "cannot load such file -- no app.rb and no workload.rb")
      end

      guard("Init") { require "#{TASK_ROOT}/#{found}" }
      name = HANDLERS.find { |candidate| @main.respond_to?(candidate, true) }
      return adapt(@main.method(name)) if name

      message = "#{found}.rb defines neither handler(event:, context:) nor handle(event)"
      raise LoadFailure, make_report("Function<NoMethodError>", message)
    end

    # As AWS Lambda names it: `file.method`, or `file.Module::Class.method` of a class's own method.
    def configured_handler(name)
      file, *scope, method = name.split(".", -1)
      if method.to_s.empty? || scope.size > 1
        raise LoadFailure, make_report("Init<ArgumentError>", "Invalid handler '#{name}': it #{HANDLER_FORMS}")
      end

      guard("Init") { require "#{LAMBDA_TASK_ROOT}/#{file}" }
      owner = scope.empty? ? @main : guard("Function") { Object.const_get(scope.first) }
      unless owner.respond_to?(method, true)
        message = "undefined method `#{method}' for #{owner.inspect}"
        raise LoadFailure, make_report("Function<NoMethodError>", message)
      end
      adapt(owner.method(method))
    end

    # AWS Lambda calls with keywords. Beyond it: a method without any gets what it takes by position.
    def adapt(method)
      kinds = method.parameters.map(&:first)
      if (kinds & %i[key keyreq keyrest]).any?
        ->(event, context) { method.call(event: event, context: context) }
      elsif kinds.include?(:rest) || kinds.size > 1
        ->(event, context) { method.call(event, context) }
      elsif kinds.size == 1
        ->(event, _) { method.call(event) }
      else
        ->(_, _) { method.call }
      end
    end

    # Gems where Bundler puts them (`bundle config set path vendor/bundle`).
    def use_gems(root)
      gems = "#{root}/vendor/bundle/ruby/#{RUBY_ABI}"
      return unless defined?(::Gem) && (ENV.key?("GEM_PATH") || File.directory?(gems))

      folders = [*ENV["GEM_PATH"]&.split(":"), gems]
      Gem.use_paths(Gem.default_dir, [*folders, *Gem.default_path].uniq)
    end

    # What the function does wrong in here keeps it from being loaded. That it ends the process is its right.
    def guard(phase)
      yield
    rescue SystemExit
      raise
    rescue Exception => e
      raise LoadFailure, report_of(e, phase)
    end

    def set_up_environment(configuration)
      name = (configuration["functionName"] || "function").to_s
      region = (configuration["region"] || "us-east-1").to_s
      ENV.update(
        "_HANDLER" => configuration["handler"],
        "AWS_DEFAULT_REGION" => region,
        "AWS_EXECUTION_ENV" => "AWS_Lambda_ruby#{RUBY_VERSION[/\A\d+\.\d+/]}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => configuration["memorySize"].to_s,
        "AWS_LAMBDA_FUNCTION_NAME" => name,
        "AWS_LAMBDA_FUNCTION_VERSION" => (configuration["functionVersion"] || "$LATEST").to_s,
        "AWS_LAMBDA_LOG_GROUP_NAME" => "/aws/lambda/#{name}",
        "AWS_REGION" => region,
        "LAMBDA_RUNTIME_DIR" => RUNTIME_FOLDER,
        "LAMBDA_TASK_ROOT" => LAMBDA_TASK_ROOT,
        "TZ" => ":UTC"
      )
      renew_log_stream_name
      # The function's own go last, so that it may have another time zone.
      environment = configuration["environment"]
      ENV.update(environment) if environment.is_a?(Hash)
    rescue TypeError, ArgumentError, SystemCallError => e
      raise LoadFailure, make_report("Runtime.InitError", "an environment variable cannot be set: #{e.message}")
    end

    # One for each microVM, as one snapshot gives many.
    def renew_log_stream_name
      version = ENV.fetch("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
      ENV["AWS_LAMBDA_LOG_STREAM_NAME"] = log_stream_name(version, SecureRandom.hex(16))
    end

    # Tells the host that the function is of no use; the answer to every event from then on.
    def report_failure(channel, error)
      failure = encode_report(error.report)
      log_report("Init error when loading handler #{ENV['_HANDLER']}", error.report) if @deployed
      flush_output
      channel.write_frame("init-error", failure)
      ->(_, _) { ["error", failure] }
    end

    # ---- requests --------------------------------------------------------------------------------------------------

    # Answers events for ever.
    def serve(channel, respond)
      context_values = {}
      loop do
        kind, payload = channel.read_frame
        case kind
        when "context"
          values = JSON.parse(payload.force_encoding(Encoding::UTF_8))
          context_values = values.is_a?(Hash) ? values : {}
        when "event"
          reply = respond.call(payload, context_values)
          flush_output
          channel.write_frame(*reply)
        else
          raise ChannelError, "a frame of unknown kind '#{kind[0, 40]}'"
        end
      end
    end

    # Runs one event; the [kind, payload] to send back. What it raises ends the process, as `exit` shall.
    def answer(handler, payload, context_values)
      context = Context.new(context_values)
      begin
        event = parse_event(payload)
      rescue JSON::ParserError => e
        report = make_report("Runtime.UnmarshalError", "Event is not JSON: #{e.message}", [], context.aws_request_id)
        return failed(report)
      end
      respond_to_event(handler, event, context)
    end

    def respond_to_event(handler, event, context)
      # Made into JSON here, since that may call methods of the function too.
      data = JSON.generate(handler.call(event, context), max_nesting: MAX_NESTING)
      return ["result", data] if data.bytesize <= MAX_RESPONSE_BYTES

      message = "Response payload size (#{data.bytesize} bytes) exceeded maximum allowed payload size " \
                "(#{MAX_RESPONSE_BYTES} bytes)."
      failed(make_report("Function.ResponseSizeTooLarge", message, [], context.aws_request_id))
    rescue SystemExit
      raise
    rescue Exception => e
      failed(report_of(e, "Function", context.aws_request_id))
    end

    def parse_event(payload)
      text = payload.dup.force_encoding(Encoding::UTF_8)
      raise JSON::ParserError, "it is not UTF-8" unless text.valid_encoding?

      JSON.parse(text, max_nesting: MAX_NESTING)
    end

    def failed(report)
      log_report("Error raised from handler method", report) if @deployed
      ["error", encode_report(report)]
    end

    # ---- errors ----------------------------------------------------------------------------------------------------

    # AWS Lambda's types for Ruby: `Function<RuntimeError>` of a handler, `Init<LoadError>` before it.
    def report_of(error, phase = "Function", request_id = "")
      message = begin
        error.message
      rescue StandardError # one of the function's own errors that fails itself
        "<unprintable>"
      end
      make_report("#{phase}<#{error.class}>", message, stack_of(error), request_id)
    end

    # The stack of the function alone: without the frames of this file and of what is between.
    def stack_of(error)
      stack = error.backtrace || []
      stack = stack.take_while { |line| !line.start_with?(__FILE__) }
      stack.pop while stack.last&.start_with?("<internal:")
      stack
    end

    def make_report(type, message, stack = [], request_id = "")
      if stack.size > MAX_STACK_LINES
        half = MAX_STACK_LINES / 2
        stack = [*stack.first(half), "... #{stack.size - 2 * half} more ...", *stack.last(half)]
      end
      {
        "errorMessage" => clean(message)[0, MAX_MESSAGE_CHARACTERS],
        "errorType" => type,
        "requestId" => request_id,
        "stackTrace" => stack.map { |line| clean(line)[0, MAX_STACK_LINE_CHARACTERS] }
      }
    end

    # UTF-8 whatever it was.
    def clean(text)
      text = text.to_s
      text = text.encode(Encoding::UTF_8) unless text.encoding == Encoding::BINARY
      text.dup.force_encoding(Encoding::UTF_8).scrub
    rescue EncodingError
      text.dup.force_encoding(Encoding::UTF_8).scrub
    end

    def encode_report(report)
      JSON.generate(report, ascii_only: true)
    end

    # As AWS Lambda writes it.
    def log_report(title, report)
      shown = report.slice("errorMessage", "errorType", "stackTrace")
      $stdout.write("#{title}\n#{JSON.pretty_generate(shown)}\n")
    rescue SystemCallError, IOError # the function may have closed it
      nil
    end

    def flush_output
      [$stdout, $stderr, STDOUT, STDERR].each do |stream|
        stream.flush
      rescue SystemCallError, IOError, NoMethodError # the function may have closed it, or put another in its place
        nil
      end
    end

    # ---- the agent -------------------------------------------------------------------------------------------------

    def hear
      # The agent says nothing more before it has its answer.
      line = String.new
      line << @control_in.sysread(256) until line.end_with?("\n")
      line.chomp
    rescue EOFError
      abort("the agent is gone")
    end

    def say(text)
      @control_out.syswrite("#{text}\n")
    end
  end
end

SnapFaaS.main
