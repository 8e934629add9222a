# Says which hooks have run, and draws what must differ in each microVM.
require "securerandom"
require "snapstart"

module Hooks
  class App
    @hooks = []
    class << self
      attr_reader :hooks

      def handler(event:, context:)
        { "hooks" => hooks, "random" => rand, "uuid" => SecureRandom.uuid,
          "boot" => File.read("/proc/sys/kernel/random/boot_id").strip }
      end
    end

    SnapStart.register_before_snapshot { hooks << "before" }
    SnapStart.register_after_restore { hooks << "after" }
  end
end
