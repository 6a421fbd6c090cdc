;; A module that does what its arguments say, word by word; for a request, what its path says: /copy. Numbers in what it prints are
;; error numbers of WASI preview 1. Descriptor 3 is its first preopen.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_raise" (func $proc_raise (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 8)
  ;; 0: results of calls; 64: one vector; 128: a subscription; 192: its event; 256: digits. 1024: words. 4096: pointers. 65536: their texts.
  (data (i32.const 1024) "print:\00")
  (data (i32.const 1056) "warn:\00")
  (data (i32.const 1088) "partial:\00")
  (data (i32.const 1120) "after:\00")
  (data (i32.const 1152) "exit:\00")
  (data (i32.const 1184) "run\00")
  (data (i32.const 1216) "crash-then-run:\00")
  (data (i32.const 1248) "read:\00")
  (data (i32.const 1280) "write:\00")
  (data (i32.const 1312) "env\00")
  (data (i32.const 1344) "loop\00")
  (data (i32.const 1376) "grow:\00")
  (data (i32.const 1408) "flood\00")
  (data (i32.const 1440) "trap\00")
  (data (i32.const 1472) "link\00")
  (data (i32.const 1504) "unlink:\00")
  (data (i32.const 1536) "copy\00")
  (data (i32.const 1568) "raise\00")
  (data (i32.const 1600) "cut\00")
  (data (i32.const 1632) "close\00")
  (data (i32.const 1664) "fill:\00")
  (data (i32.const 1696) "move:\00")
  (data (i32.const 1728) "status:\00")
  (data (i32.const 1792) "PATH_INFO=/\00")
  (data (i32.const 1824) "Content-Type: text/plain\0a\0a")
  (data (i32.const 1888) "launches")
  (data (i32.const 1920) "/etc")
  (data (i32.const 1952) "Status: ")
  (data (i32.const 1984) "\0a\0a")
  (data (i32.const 2016) "moved")
  (global $after (mut i32) (i32.const 0))

  (func $length (param $at i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $at))
    (block $done (loop $next
      (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
      (local.set $end (i32.add (local.get $end) (i32.const 1)))
      (br $next)))
    (i32.sub (local.get $end) (local.get $at)))

  ;; What follows the beginning, or 0.
  (func $rest (param $text i32) (param $beginning i32) (result i32)
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $beginning))) (then (return (local.get $text))))
      (if (i32.ne (i32.load8_u (local.get $text)) (i32.load8_u (local.get $beginning))) (then (return (i32.const 0))))
      (local.set $text (i32.add (local.get $text) (i32.const 1)))
      (local.set $beginning (i32.add (local.get $beginning) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; Sets $after to what follows its digits and one more character.
  (func $number (param $at i32) (result i32)
    (local $value i32) (local $digit i32)
    (block $done (loop $next
      (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
      (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10)) (local.get $digit)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (global.set $after (i32.add (local.get $at) (i32.const 1)))
    (local.get $value))

  (func $write (param $fd i32) (param $at i32) (param $bytes i32) (result i32)
    (i32.store (i32.const 64) (local.get $at))
    (i32.store (i32.const 68) (local.get $bytes))
    (call $fd_write (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 0)))

  (func $line (param $fd i32) (param $at i32)
    (local $bytes i32)
    (local.set $bytes (call $length (local.get $at)))
    (i32.store8 (i32.add (local.get $at) (local.get $bytes)) (i32.const 10))
    (drop (call $write (local.get $fd) (local.get $at) (i32.add (local.get $bytes) (i32.const 1))))
    (i32.store8 (i32.add (local.get $at) (local.get $bytes)) (i32.const 0)))

  (func $say (param $value i32)
    (local $at i32)
    (local.set $at (i32.const 272))
    (i32.store8 (local.get $at) (i32.const 0))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
      (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
      (br_if $next (local.get $value)))
    (call $line (i32.const 1) (local.get $at)))

  (func $sleep (param $ms i32)
    (i64.store (i32.const 128) (i64.const 7))
    (i32.store8 (i32.const 136) (i32.const 0))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (i64.store (i32.const 160) (i64.const 0))
    (i32.store16 (i32.const 168) (i32.const 0))
    (drop (call $poll_oneoff (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 0))))

  ;; The error number; the descriptor is in 32.
  (func $open (param $at i32) (param $bytes i32) (param $flags i32) (param $rights i64) (result i32)
    (call $path_open (i32.const 3) (i32.const 1) (local.get $at) (local.get $bytes) (local.get $flags)
      (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 32)))

  (func $read (param $fd i32) (result i32)
    (i32.store (i32.const 64) (i32.const 200000))
    (i32.store (i32.const 68) (i32.const 65536))
    (drop (call $fd_read (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 0)))
    (i32.load (i32.const 0)))

  (func $copy (param $fd i32)
    (local $bytes i32)
    (loop $next
      (local.set $bytes (call $read (local.get $fd)))
      (if (local.get $bytes) (then
        (drop (call $write (i32.const 1) (i32.const 200000) (local.get $bytes)))
        (br $next)))))

  (func $read_file (param $at i32)
    (local $error i32)
    (local.set $error (call $open (local.get $at) (call $length (local.get $at)) (i32.const 0) (i64.const 2)))
    (if (local.get $error) (then (call $say (local.get $error)) (return)))
    (call $copy (i32.load (i32.const 32))))

  (func $write_file (param $at i32)
    (local $error i32)
    (local.set $error (call $open (local.get $at) (call $length (local.get $at)) (i32.const 1) (i64.const 64)))
    (if (i32.eqz (local.get $error)) (then
      (local.set $error (call $write (i32.load (i32.const 32)) (local.get $at) (call $length (local.get $at))))
      (drop (call $fd_close (i32.load (i32.const 32))))))
    (call $say (local.get $error)))

  (func $environment
    (local $left i32) (local $at i32)
    (drop (call $environ_sizes_get (i32.const 8) (i32.const 12)))
    (drop (call $environ_get (i32.const 4096) (i32.const 65536)))
    (local.set $left (i32.load (i32.const 8)))
    (local.set $at (i32.const 4096))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $left)))
      (call $line (i32.const 1) (i32.load (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next))))

  ;; One byte for each launch in a file of the first preopen; how many there were before.
  (func $launches (result i32)
    (local $before i32)
    (drop (call $open (i32.const 1888) (i32.const 8) (i32.const 1) (i64.const 66)))
    (local.set $before (call $read (i32.load (i32.const 32))))
    (drop (call $write (i32.load (i32.const 32)) (i32.const 1888) (i32.const 1)))
    (drop (call $fd_close (i32.load (i32.const 32))))
    (local.get $before))

  (func $do (param $word i32)
    (local $at i32) (local $value i32)
    (local.set $at (call $rest (local.get $word) (i32.const 1024)))
    (if (local.get $at) (then (call $line (i32.const 1) (local.get $at)) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1056)))
    (if (local.get $at) (then (call $line (i32.const 2) (local.get $at)) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1088)))
    (if (local.get $at) (then
      (drop (call $write (i32.const 1) (local.get $at) (call $length (local.get $at)))) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1120)))
    (if (local.get $at) (then (call $sleep (call $number (local.get $at))) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1152)))
    (if (local.get $at) (then
      (local.set $value (call $number (local.get $at)))
      (call $sleep (call $number (global.get $after)))
      (call $proc_exit (local.get $value))))
    (if (call $rest (local.get $word) (i32.const 1184)) (then (call $sleep (i32.const 1000000)) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1216)))
    (if (local.get $at) (then
      (if (i32.lt_u (call $launches) (call $number (local.get $at)))
        (then (call $sleep (call $number (global.get $after))) (call $proc_exit (i32.const 1))))
      (call $sleep (i32.const 1000000)) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1248)))
    (if (local.get $at) (then (call $read_file (local.get $at)) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1280)))
    (if (local.get $at) (then (call $write_file (local.get $at)) (return)))
    (if (call $rest (local.get $word) (i32.const 1312)) (then (call $environment) (return)))
    (if (call $rest (local.get $word) (i32.const 1344)) (then (loop $for_ever (br $for_ever))))
    (local.set $at (call $rest (local.get $word) (i32.const 1376)))
    (if (local.get $at) (then
      ;; In steps of 16 pages, each written to: what it has in the end.
      (local.set $value (i32.div_u (call $number (local.get $at)) (i32.const 16)))
      (block $full (loop $next
        (br_if $full (i32.eqz (local.get $value)))
        (br_if $full (i32.eq (memory.grow (i32.const 16)) (i32.const -1)))
        (memory.fill (i32.shl (i32.sub (memory.size) (i32.const 16)) (i32.const 16)) (i32.const 1) (i32.const 1048576))
        (local.set $value (i32.sub (local.get $value) (i32.const 1)))
        (br $next)))
      (call $say (memory.size)) (return)))
    (if (call $rest (local.get $word) (i32.const 1408)) (then
      (memory.fill (i32.const 300000) (i32.const 120) (i32.const 65536))
      (loop $for_ever
        (drop (call $write (i32.const 1) (i32.const 300000) (i32.const 65536)))
        ;; Slower than the disk, which other tests use too.
        (call $sleep (i32.const 2))
        (br $for_ever))))
    (if (call $rest (local.get $word) (i32.const 1440)) (then (unreachable)))
    (if (call $rest (local.get $word) (i32.const 1472)) (then
      (call $say (call $path_symlink (i32.const 1920) (i32.const 4) (i32.const 3) (i32.const 1888) (i32.const 8)))
      (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1504)))
    (if (local.get $at) (then
      (call $say (call $path_unlink_file (i32.const 3) (local.get $at) (call $length (local.get $at)))) (return)))
    (if (call $rest (local.get $word) (i32.const 1536)) (then (call $copy (i32.const 0)) (return)))
    (if (call $rest (local.get $word) (i32.const 1568)) (then (call $say (call $proc_raise (i32.const 1))) (return)))
    (if (call $rest (local.get $word) (i32.const 1600)) (then
      (call $say (call $set_size (i32.const 1) (i64.const 0))) (return)))
    (if (call $rest (local.get $word) (i32.const 1632)) (then
      (drop (call $fd_close (i32.const 0)))
      (drop (call $fd_close (i32.const 1)))
      (call $say (call $fd_close (i32.const 2))) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1664)))
    (if (local.get $at) (then
      ;; The same file again and again, never closed: how often.
      (loop $next
        (if (i32.eqz (call $open (local.get $at) (call $length (local.get $at)) (i32.const 0) (i64.const 2))) (then
          (local.set $value (i32.add (local.get $value) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $value) (i32.const 5000))))))
      (call $say (local.get $value)) (return)))
    (local.set $at (call $rest (local.get $word) (i32.const 1696)))
    (if (local.get $at) (then
      (call $say (call $path_rename (i32.const 3) (local.get $at) (call $length (local.get $at))
        (i32.const 3) (i32.const 2016) (i32.const 5)))
      (return)))
    (call $proc_exit (i32.const 99)))

  ;; The path of a request, or 0.
  (func $path (result i32)
    (local $left i32) (local $at i32) (local $found i32)
    (drop (call $environ_sizes_get (i32.const 8) (i32.const 12)))
    (drop (call $environ_get (i32.const 4096) (i32.const 65536)))
    (local.set $left (i32.load (i32.const 8)))
    (local.set $at (i32.const 4096))
    (loop $next
      (if (i32.eqz (local.get $left)) (then (return (i32.const 0))))
      (local.set $found (call $rest (i32.load (local.get $at)) (i32.const 1792)))
      (if (local.get $found) (then (return (local.get $found))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next))
    (unreachable))

  (func (export "_start")
    (local $left i32) (local $at i32) (local $value i32)
    (local.set $at (call $path))
    (if (local.get $at) (then
      ;; `status:404` says that status; a path without a word is answered with nothing.
      (local.set $value (call $rest (local.get $at) (i32.const 1728)))
      (if (local.get $value) (then
        (drop (call $write (i32.const 1) (i32.const 1952) (i32.const 8)))
        (drop (call $write (i32.const 1) (local.get $value) (i32.const 3)))
        (drop (call $write (i32.const 1) (i32.const 1984) (i32.const 2)))
        (return)))
      (drop (call $write (i32.const 1) (i32.const 1824) (i32.const 26)))
      (if (i32.load8_u (local.get $at)) (then (call $do (local.get $at))))
      (return)))
    (drop (call $args_sizes_get (i32.const 8) (i32.const 12)))
    (drop (call $args_get (i32.const 2048) (i32.const 131072)))
    (local.set $left (i32.sub (i32.load (i32.const 8)) (i32.const 1)))
    (local.set $at (i32.const 2052))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $left)))
      (call $do (i32.load (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))))
