/*
 * log-format.h - the bytes of a log file and of a checkpoint.  Described for people in
 * mailbraid-log(5).  All integers are little endian.
 *
 * LOG FILE  STORE/log/NNNNNNNN.log  (sequence, 8 digits, decimal, from 00000001)
 *
 *   header, LOG_HEADER_SIZE bytes
 *      0  8   magic "mbraidLG"
 *      8  u16 format version (LOG_VERSION)
 *     10  u16 header size
 *     12  u32 sequence
 *     16  16  log id (random): the name of this file in positions
 *     32  16  store id
 *     48  u32 indexid: seconds since 2020-01-01 UTC, see modseq below
 *     52  u32 sequence of the checkpoint that this file continues, 0 = none
 *     56  i64 time of creation, ns since 1970
 *     64  16  log id of the file before, zeros = first
 *     80  u64 offset at which the file before ends
 *     88  u64 XXH3 of bytes 0..87, seed 0
 *
 *   records, each
 *      0  u32 length of the payload (1..RECORD_MAX)
 *      4  u32 its complement (~length): a torn or zeroed length is seen at once
 *      8      payload: record_encode()
 *      …  u64 XXH3 of the 8 bytes before and the payload; seed: first 8 bytes of the log id as u64,
 *             xor offset of the record, so that neither an older file's bytes nor shifted ones fit
 *
 *   A torn tail (a record that does not fit or does not check, with nothing valid behind it) is the end of the log.
 *
 * modseq of a record = ((indexid + sequence) << 32) | offset just after it: unique and growing in the
 * store, under 2^63 until 2088.  A new indexid is max(now, last indexid + last sequence + 1).
 *
 * CHECKPOINT  STORE/log/NNNNNNNN.ckpt: the state at the end of log file NNNNNNNN
 *
 *   header, CKPT_HEADER_SIZE bytes: magic "mbraidCP", u16 version, u16 header size, u32 sequence,
 *   16 log id of that log file, u64 its end offset, u64 check of the record that ends there, 16 store
 *   id, u32 indexid, u32 zero, u64 XXH3 of what is before, seed 0;
 *   then records framed as in the log (seed: as in the log, with this file's log id),
 *   then a trailer: u32 0, u32 0xffffffff, u64 number of records, u64 XXH3 of all record checksums
 *   in order.  A checkpoint without a right trailer does not exist.
 */
#ifndef MB_STORE_LOG_FORMAT_H
#define MB_STORE_LOG_FORMAT_H

#define LOG_MAGIC "mbraidLG"
#define CKPT_MAGIC "mbraidCP"
#define LOG_VERSION 1
#define LOG_HEADER_SIZE 96
#define CKPT_HEADER_SIZE 80
#define LOG_FILE_MAX (4ull << 30) /* a log file stays below: offsets fit 32 bits */
#define LOG_EPOCH_2020 1577836800 /* seconds from 1970 to 2020-01-01 UTC */

#endif
