local snapstart = require("snapstart")
local json = require("snapfaas.json")
local uv = require("luv")

-- An array also while it is empty.
local called = json.array({})

snapstart.register_before_snapshot(function(name)
  called[#called + 1] = name
end, "before")
snapstart.register_after_restore(function(name)
  called[#called + 1] = name
end, "after")

local function read_boot_id()
  local file = assert(io.open("/proc/sys/kernel/random/boot_id"))
  local id = file:read("l")
  file:close()
  return id
end

local function handler()
  return {
    hooks = called,
    random = math.random(0, 1 << 48),
    uuid = uv.random(16):gsub(".", function(letter) return ("%02x"):format(letter:byte()) end),
    boot = read_boot_id(),
  }
end

return { handler = handler }
