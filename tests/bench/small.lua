-- SPDX-License-Identifier: MIT
--
-- small.lua - for wrk: the files file0, file1 ... in turn, so many as $BENCH_FILES says.

local requests = {}
local count = tonumber(os.getenv("BENCH_FILES"))
local at = 0

function init(args)
	for i = 1, count do
		requests[i] = wrk.format("GET", wrk.path .. "file" .. (i - 1))
	end
end

function request()
	at = at % count + 1
	return requests[at]
end
