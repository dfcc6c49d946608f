//! Reading and writing files: offsets, the end of the file, and limits that are no short success.

use crate::peers::{assert_pattern, pattern};
use crate::starts::{error_of, room};
#[cfg(unix)]
use crate::world::is_in_own_process;
use crate::world::{
    TemporaryPath, assert_nothing_is_left, bytes_of, file_with, get, get_all, port,
};
use anyport::buf::Buffer;
use anyport::fs::{FileHandle, OpenOptions};
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind};
use std::path::Path;

fn file_to_read(port: &CompletionPort<usize>, length: usize) -> (FileHandle<usize>, TemporaryPath) {
    file_with(port, 41, &pattern(41, length))
}

fn file_to_write(port: &CompletionPort<usize>, path: &Path) -> FileHandle<usize> {
    let file = OpenOptions::new().write(true).create_new(true).open(path).expect("a file");
    port.associate(file, 42).expect("associated")
}

pub fn s41_a_read_gives_what_is_at_its_offset(kind: BackendKind) {
    const LENGTH: usize = 300_000;
    let port = port(kind);
    let (file, _path) = file_to_read(&port, LENGTH);
    for (offset, length) in [(0, 1), (0, LENGTH), (4095, 2), (123_457, 100_000), (LENGTH - 1, 1)] {
        let operation = file.read_at(room(length), offset as u64, length).expect("started");
        let packet = get(&port);
        assert_eq!((packet.operation, packet.kind), (Some(operation), OperationKind::ReadAt));
        assert_eq!((packet.key, packet.context), (41, length));
        assert_eq!((packet.result, packet.more), (Ok(length), false));
        let bytes = bytes_of(&packet);
        assert_eq!(bytes.len(), length);
        assert_pattern(41, offset, &bytes);
    }
    assert_nothing_is_left(&port);
}

pub fn s41_a_read_at_the_end_fails_as_end_of_file(kind: BackendKind) {
    let port = port(kind);
    for length in [0, 1, 10_000] {
        let (file, _path) = file_to_read(&port, length);
        for behind in [0, 1, 1 << 40] {
            for parts in [1, 3] {
                let buffers: Vec<_> = (0..parts).map(|_| Buffer::from(room(100))).collect();
                file.read_at(buffers, length as u64 + behind, 1).expect("started");
                let packet = get(&port);
                let error = error_of("read", &packet);
                assert_eq!(error.kind(), ErrorKind::EndOfFile, "{error}");
                assert_eq!((error.transferred(), packet.key), (0, 41));
                let buffers = &packet.buffers;
                assert_eq!((buffers.len(), buffers.total_len()), (parts, 0));
                assert_eq!(buffers.total_capacity(), parts * 100, "the buffers come back");
            }
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s41_a_read_that_crosses_the_end_gives_what_was_there(kind: BackendKind) {
    const LENGTH: usize = 70_000;
    let port = port(kind);
    let (file, _path) = file_to_read(&port, LENGTH);
    for offset in [0, 1, 65_536, LENGTH - 1] {
        for parts in [1, 3] {
            let buffers: Vec<_> = (0..parts).map(|_| Buffer::from(room(LENGTH + 1))).collect();
            file.read_at(buffers, offset as u64, 1).expect("started");
            let packet = get(&port);
            assert_eq!(packet.result, Ok(LENGTH - offset));
            let bytes = bytes_of(&packet);
            assert_eq!(bytes.len(), LENGTH - offset);
            assert_pattern(41, offset, &bytes);
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s41_scatter_reads_fill_in_order(kind: BackendKind) {
    const LENGTH: usize = 100_000;
    let port = port(kind);
    let (file, _path) = file_to_read(&port, LENGTH);
    let cases: [(usize, [usize; 4]); 3] =
        [(0, [10, 0, 70_000, 1000]), (LENGTH - 1010, [10, 0, 1000, 0]), (LENGTH - 3, [3, 0, 0, 0])];
    for (offset, expected) in cases {
        let rooms = [10, 0, 70_000, 1000].map(|bytes| Buffer::from(room(bytes)));
        file.read_at(rooms, offset as u64, 1).expect("started");
        let packet = get(&port);
        let lengths: Vec<_> = packet.buffers.iter().map(Buffer::len).collect();
        assert_eq!((packet.result, &lengths[..]), (Ok(expected.iter().sum()), &expected[..]));
        assert_pattern(41, offset, &bytes_of(&packet));
    }
    assert_nothing_is_left(&port);
}

pub fn s41_many_reads_at_once_each_give_their_own_bytes(kind: BackendKind) {
    const COUNT: usize = 500;
    const LENGTH: usize = 1 << 20;
    let port = port(kind);
    let (file, _path) = file_to_read(&port, LENGTH);
    let place_of = |context: usize| {
        let offset = (context * 7_654_321) % LENGTH;
        (offset, (1 + context * 131).min(LENGTH - offset))
    };
    for context in 0..COUNT {
        let (offset, length) = place_of(context);
        file.read_at(room(length), offset as u64, context).expect("started");
    }
    let mut packets = get_all(&port, COUNT);
    packets.sort_by_key(|packet| packet.context);
    for (context, packet) in packets.iter().enumerate() {
        let (offset, length) = place_of(context);
        assert_eq!((packet.context, packet.result), (context, Ok(length)), "one each");
        assert_pattern(41, offset, &bytes_of(packet));
    }
    assert_nothing_is_left(&port);
}

pub fn s42_a_write_reports_what_was_written(kind: BackendKind) {
    const LENGTH: usize = 2_000_000;
    const PIECE: usize = 77_777;
    let port = port(kind);
    let path = TemporaryPath::new();
    let file = file_to_write(&port, path.as_ref());
    let all = pattern(42, LENGTH);
    let count = LENGTH.div_ceil(PIECE);
    // From the end to the beginning: only the offsets say where.
    for context in (0..count).rev() {
        let piece = all[context * PIECE..LENGTH.min((context + 1) * PIECE)].to_vec();
        file.write_at(piece, (context * PIECE) as u64, context).expect("started");
    }
    let mut packets = get_all(&port, count);
    packets.sort_by_key(|packet| packet.context);
    for (context, packet) in packets.iter().enumerate() {
        let length = PIECE.min(LENGTH - context * PIECE);
        assert_eq!((packet.key, packet.context), (42, context), "one each");
        assert_eq!((packet.kind, packet.result), (OperationKind::WriteAt, Ok(length)));
        assert_eq!(packet.buffers.total_len(), length, "the buffer is as it was");
    }
    file.write_at(room(0), 5, 0).expect("started");
    assert_eq!(get(&port).result, Ok(0));
    assert_nothing_is_left(&port);
    assert!(std::fs::read(&path).expect("the file") == all);
}

pub fn s42_gather_writes_leave_in_order(kind: BackendKind) {
    let port = port(kind);
    let path = TemporaryPath::new();
    let file = file_to_write(&port, path.as_ref());
    let all = pattern(42, 500_000);
    let parts = [&all[..7], &all[7..7], &all[7..300_000], &all[300_000..]];
    file.write_at(parts.map(|part| Buffer::from(part.to_vec())), 11, 1).expect("started");
    let packet = get(&port);
    assert_eq!((packet.result, packet.buffers.len()), (Ok(all.len()), 4));
    let written = std::fs::read(&path).expect("the file");
    assert!(written[..11] == [0; 11] && written[11..] == all);
    assert_nothing_is_left(&port);
}

/// Writes that cross the limit, and writes behind it, of one buffer and of several.
#[cfg(unix)]
fn assert_limit(port: &CompletionPort<usize>, path: &Path, limit: usize, code: i32) {
    for parts in [1, 4] {
        let buffers = |seed: u8| -> Vec<Buffer> {
            let all = pattern(seed, 400_000);
            all.chunks(400_000 / parts).map(|part| Buffer::from(part.to_vec())).collect()
        };
        let file = file_to_write(port, path);
        file.write_at(buffers(1), 0, 1).expect("started");
        let packet = get(port);
        let error = error_of("a write that crosses the limit", &packet);
        assert_eq!((error.kind(), error.code()), (ErrorKind::NoSpace, Some(code)), "{error}");
        let written = std::fs::read(path).expect("the file");
        assert_eq!(error.transferred(), written.len(), "what was written is told");
        assert!((1..=limit).contains(&written.len()), "{} bytes", written.len());
        assert_pattern(1, 0, &written);
        assert_eq!((packet.key, packet.buffers.total_len()), (42, 400_000));
        file.write_at(buffers(2), limit as u64, 2).expect("started");
        let packet = get(port);
        let error = error_of("a write behind the limit", &packet);
        assert_eq!((error.kind(), error.code()), (ErrorKind::NoSpace, Some(code)), "{error}");
        assert_eq!(error.transferred(), 0);
        // Below the limit all is as before.
        file.write_at("small", 3, 3).expect("started");
        assert_eq!(get(port).result, Ok(5));
        drop(file);
        std::fs::remove_file(path).expect("removed");
    }
    assert_nothing_is_left(port);
}

#[cfg(not(unix))]
pub fn s42_a_limit_is_an_error_not_a_short_success(_: BackendKind) {
    println!("not run: the system has no limit of file sizes for a process");
}

#[cfg(unix)]
pub fn s42_a_limit_is_an_error_not_a_short_success(kind: BackendKind) {
    const LIMIT: usize = 150_000;
    if !is_in_own_process(kind, "s42_a_limit_is_an_error_not_a_short_success") {
        return;
    }
    let limit = libc::rlimit { rlim_cur: LIMIT as libc::rlim_t, rlim_max: LIMIT as libc::rlim_t };
    // SAFETY: the structure outlives the call. Without the signal's default action a write at the
    // limit is an error instead of the end of the process; this process has no other use.
    let result = unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::setrlimit(libc::RLIMIT_FSIZE, &limit)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let path = TemporaryPath::new();
    assert_limit(&port(kind), path.as_ref(), LIMIT, libc::EFBIG);
}

#[cfg(target_os = "linux")]
pub fn s42_a_full_disk_is_an_error_not_a_short_success(kind: BackendKind) {
    const SIZE: usize = 128 << 10;
    if !is_in_own_process(kind, "s42_a_full_disk_is_an_error_not_a_short_success") {
        return;
    }
    let path = TemporaryPath::new();
    std::fs::create_dir(&path).expect("a directory");
    let disk = path.as_ref().to_path_buf();
    // Only this thread sees the disk, and it goes with the thread.
    if let Err(error) = mount_small_disk(&disk, SIZE) {
        std::fs::remove_dir(&disk).expect("removed");
        return println!("not run: no disk of {SIZE} bytes can be made here: {error}");
    }
    assert_limit(&port(kind), &disk.join("file"), SIZE, libc::ENOSPC);
    let name = c_string(&disk);
    // SAFETY: the path ends with a zero byte and outlives the call.
    assert_eq!(unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) }, 0);
    std::fs::remove_dir(&disk).expect("removed");
}

#[cfg(not(target_os = "linux"))]
pub fn s42_a_full_disk_is_an_error_not_a_short_success(_: BackendKind) {
    println!("not run: on this system a test cannot make a small disk");
}

#[cfg(target_os = "linux")]
fn mount_small_disk(directory: &Path, bytes: usize) -> std::io::Result<()> {
    let checked = |result| match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    let target = c_string(directory);
    let size = std::ffi::CString::new(format!("size={bytes}")).expect("no zero byte");
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let (none, flags) = (std::ptr::null(), libc::MS_NOSUID | libc::MS_NODEV);
    // SAFETY: it takes no memory.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // SAFETY: the paths and the options end with a zero byte and outlive the calls.
    unsafe {
        checked(libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, private, none.cast()))?;
        let (source, data) = (c"tmpfs".as_ptr(), size.as_ptr().cast());
        checked(libc::mount(source, target.as_ptr(), source, flags, data))
    }
}

#[cfg(target_os = "linux")]
fn c_string(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no zero byte")
}
