-- The requests of wrk and its report: wrk -s load.lua URL -- WORK USERS [FILE [PACE]]
-- Requests are assembled by hand, since the client runs on the measured machine.

local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("number", #threads)
end

-- The token of a user; run.py puts the same one into the database.
local function token(users)
    return string.rep(string.format("%010d", math.random(users)), 25)
end

local function post(path, body, headers)
    return "POST " .. path .. " HTTP/1.1\r\nHost: localhost\r\n" .. (headers or "") ..
        "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

local works = {}

function works.user_info()
    return post("/api/user_info/", '{"token":"' .. token(users) .. '"}')
end

function works.forward_auth()
    return "GET /api/forward_auth/ HTTP/1.1\r\nHost: localhost\r\nCookie: accountd=" .. token(users) .. "\r\n\r\n"
end

function works.captcha()
    return "GET /api/get_verification_code/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
end

-- Fetches a captcha, then logs in with it, in turns.
function works.login()
    local key = table.remove(keys)
    if not key then
        return works.captcha()
    end
    return post("/api/login/", '{"username":"user' .. math.random(users) .. '","passwd":"a password",' ..
        '"verification_code_key":"' .. key .. '","verification_code":"k7m3xp"}')
end

function works.show_name()
    local name = string.format("name %010d", math.random(1e9))
    return post("/api/update_show_name/", '{"token":"' .. token(users) .. '","new_show_name":"' .. name .. '"}')
end

function works.fetch()
    return "GET /s/" .. file .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"
end

-- FILE is a multipart body here.
function works.upload()
    return post("/api/upload_avatar/", content, "token: " .. string.rep("0000000001", 25) ..
        "\r\nContent-Type: multipart/form-data; boundary=----XyZ\r\n")
end

function init(args)
    work, users, file = args[1], tonumber(args[2]), args[3]
    keys, refused = {}, 0
    math.randomseed(os.time() * 100 + number)
    request = works[work]
    if work == "upload" then
        local handle = assert(io.open(file, "rb"))
        content = handle:read("*a")
        handle:close()
        local whole = request()
        request = function() return whole end
    end
    -- Calm clients wait between requests.
    if args[4] == "calm" then
        delay = function() return 5 + math.random(10) end
    end
    if work == "login" or work == "upload" or work == "show_name" then
        response = function(_, headers, body)
            if headers.VerificationCodeKey then
                table.insert(keys, headers.VerificationCodeKey)
            elseif not string.find(body, '"code":200', 1, true) then
                refused = refused + 1
            end
        end
    end
end

function done(summary, latency)
    local errors = summary.errors
    local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    for _, thread in ipairs(threads) do
        bad = bad + thread:get("refused")
    end
    if bad > 0 then
        io.write(string.format("failed: %d connect, %d read, %d write, %d status, %d timeout, %d refused\n", errors.connect,
            errors.read, errors.write, errors.status, errors.timeout, bad - errors.connect - errors.read -
            errors.write - errors.status - errors.timeout))
    end
    io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration, bad,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
