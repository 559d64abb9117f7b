%% One Erlang node of three: it does what it is told on stdin, a JSON object a line, and answers on stdout. It knows as much of JSON as its requests have.
-module(bench_peer).
-export([start/0, worker/1, echo_server/0]).

start() ->
    io:setopts(standard_io, [{encoding, unicode}]),
    {ok, _} = pg:start_link(),
    loop().

loop() ->
    case io:get_line("") of
        eof -> erlang:halt(0);
        {error, _} -> erlang:halt(1);
        Line ->
            Answer = try do(text(Line, "verb"), Line)
                     catch C:R:_ -> io_lib:format("{\"error\":~p}", [lists:flatten(io_lib:format("~p:~0p", [C, R]))])
                     end,
            io:put_chars([Answer, "\n"]),
            loop()
    end.

%% join connects to the other nodes and waits until global knows them.
do("join", Line) ->
    Nodes = [list_to_atom(N) || N <- string:lexemes(text(Line, "cluster"), ",")],
    [pong = net_adm:ping(N) || N <- Nodes],
    ok = global:sync(),
    "{}";
%% register gives a name and a membership to n processes, so many at a time.
do("register", Line) ->
    N = int(Line, "n"), Many = max(1, int(Line, "many")), Prefix = text(Line, "prefix"),
    Pids = [spawn(?MODULE, worker, [self()]) || _ <- lists:seq(1, N)],
    Jobs = lists:zip(Pids, [{Prefix, I} || I <- lists:seq(1, N)]),
    Began = now_ns(),
    Samples = parallel(Many, Jobs, fun({Pid, Name}) ->
        T = now_ns(),
        yes = global:register_name(Name, Pid),
        ok = pg:join(tools, Pid),
        now_ns() - T
    end),
    Took = now_ns() - Began,
    [exit(P, kill) || P <- Pids],
    [wait_gone(Name) || {_, Name} <- Jobs],
    answer([{"n", N}, {"elapsed", Took}, {"samples", Samples}]);
%% claim registers one name at a moment that was agreed.
do("claim", Line) ->
    Pid = spawn(?MODULE, worker, [self()]),
    Name = text(Line, "name"),
    timer:sleep(max(0, (int(Line, "at") - now_ns()) div 1000000)),
    T = now_ns(),
    Got = global:register_name(Name, Pid),
    Took = now_ns() - T,
    Got =:= no andalso exit(Pid, kill),
    answer([{"elapsed", Took}, {"ok", Got =:= yes}]);
%% fill registers n names that stay.
do("fill", Line) ->
    [yes = global:register_name({fill, I}, spawn(?MODULE, worker, [self()])) || I <- lists:seq(1, int(Line, "n"))],
    "{}";
%% lookup looks names up at random.
do("lookup", Line) ->
    Names = int(Line, "size"), N = int(Line, "n"),
    Keys = [{fill, I} || {_, I} <- lists:sort([{rand:uniform(), I} || I <- lists:seq(1, Names)])],
    Began = now_ns(),
    ok = lookups(Keys, Keys, N),
    answer([{"n", N}, {"elapsed", now_ns() - Began}]);
do("members", Line) ->
    N = int(Line, "n"), Size = int(Line, "size"),
    Group = {members, Size},
    case pg:get_members(Group) of
        [] -> [ok = pg:join(Group, spawn(?MODULE, worker, [self()])) || _ <- lists:seq(1, Size)];
        _ -> ok
    end,
    Began = now_ns(),
    queries(Group, Size, N),
    answer([{"n", N}, {"elapsed", now_ns() - Began}]);
%% hold gives a name to a process that kill ends; gone spins until the name is there no more.
do("hold", Line) ->
    Pid = spawn(?MODULE, worker, [self()]),
    yes = global:register_name(text(Line, "name"), Pid),
    "{}";
do("kill", Line) ->
    Pid = global:whereis_name(text(Line, "name")),
    At = now_ns(),
    exit(Pid, kill),
    answer([{"at", At}]);
do("gone", Line) ->
    Name = text(Line, "name"), Self = self(),
    true = is_pid(global:whereis_name(Name)),
    spawn(fun() -> spin(Name), Self ! {gone, now_ns()} end),
    "{}";
do("collect", _) ->
    receive {gone, At} -> answer([{"at", At}]) after 120000 -> error(timeout) end;
%% serve starts an echo that answers gen_server:call under a name; call calls it from so many callers at once.
do("serve", Line) ->
    Pid = spawn(?MODULE, echo_server, []),
    yes = global:register_name(text(Line, "name"), Pid),
    "{}";
do("call", Line) ->
    N = int(Line, "n"), Many = max(1, int(Line, "many")), Size = int(Line, "size"),
    Pid = global:whereis_name(text(Line, "name")),
    Data = binary:copy(<<"x">>, Size),
    Began = now_ns(),
    Samples = parallel(Many, lists:seq(1, N), fun(_) ->
        T = now_ns(),
        Data = gen_server:call(Pid, Data, infinity),
        now_ns() - T
    end),
    answer([{"n", N}, {"elapsed", now_ns() - Began}, {"samples", Samples}]).

worker(_) -> receive stop -> ok end.

echo_server() ->
    receive {'$gen_call', {From, Ref}, Data} -> From ! {Ref, Data}, echo_server() end.

lookups(_, _, 0) -> ok;
lookups([], All, N) -> lookups(All, All, N);
lookups([K | Rest], All, N) ->
    true = is_pid(global:whereis_name(K)),
    lookups(Rest, All, N - 1).

queries(_, _, 0) -> ok;
queries(Group, Size, N) ->
    Size = length(pg:get_members(Group)),
    queries(Group, Size, N - 1).

spin(Name) ->
    case global:whereis_name(Name) of undefined -> ok; _ -> erlang:yield(), spin(Name) end.

wait_gone(Name) ->
    case global:whereis_name(Name) of undefined -> ok; _ -> timer:sleep(1), wait_gone(Name) end.

%% parallel does F for each job from so many processes, and returns what they return.
parallel(1, Jobs, F) -> [F(J) || J <- Jobs];
parallel(Many, Jobs, F) ->
    Self = self(),
    Parts = split(Many, Jobs),
    Refs = [begin R = make_ref(), spawn_link(fun() -> Self ! {R, [F(J) || J <- P]} end), R end || P <- Parts],
    lists:append([receive {R, S} -> S end || R <- Refs]).

split(Many, Jobs) ->
    Numbered = lists:zip(lists:seq(0, length(Jobs) - 1), Jobs),
    [[J || {I, J} <- Numbered, I rem Many =:= K] || K <- lists:seq(0, Many - 1)].

now_ns() -> os:perf_counter(nanosecond).

text(Line, Key) ->
    case re:run(Line, "\"" ++ Key ++ "\":\"([^\"]*)\"", [{capture, [1], list}]) of
        {match, [V]} -> V;
        nomatch -> ""
    end.

int(Line, Key) ->
    case re:run(Line, "\"" ++ Key ++ "\":(-?[0-9]+)", [{capture, [1], list}]) of
        {match, [V]} -> list_to_integer(V);
        nomatch -> 0
    end.

answer(Members) ->
    ["{", lists:join(",", [["\"", K, "\":", json(V)] || {K, V} <- Members]), "}"].

json(V) when is_integer(V) -> integer_to_list(V);
json(V) when is_atom(V) -> atom_to_list(V);
json(V) when is_list(V) -> ["[", lists:join(",", [json(X) || X <- V]), "]"].
