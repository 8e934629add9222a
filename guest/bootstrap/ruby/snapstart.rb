# What a function may want done around its snapshot:
#
#   require "snapstart"
#   SnapStart.register_before_snapshot { connection.close }
#   SnapStart.register_after_restore(:reconnect.to_proc, connection)
#
# Hooks before the snapshot run with the last registered first, those after a restore in order.
module SnapStart
  @before = []
  @after = []

  class << self
    def register_before_snapshot(callable = nil, *arguments, **options, &block)
      @before << [callable || block || raise(ArgumentError, "a hook is a callable or a block"), arguments, options]
      nil
    end

    def register_after_restore(callable = nil, *arguments, **options, &block)
      @after << [callable || block || raise(ArgumentError, "a hook is a callable or a block"), arguments, options]
      nil
    end

    # For the bootstrap.
    def run_before_snapshot
      @before.reverse_each { |hook, arguments, options| hook.call(*arguments, **options) }
    end

    def run_after_restore
      @after.each { |hook, arguments, options| hook.call(*arguments, **options) }
    end
  end
end
