# A Lua script as a C string, without its comment lines.
1i const char tt_shared_lua[] =
$a ;
/^ *--/d
s/[\\"]/\\&/g
s/^ *//
s/.*/"&\\n"/
