//! What a device carries that is not ours, as far as it can be told. Whatever is not zeros at either end of it is refused, so a
//! format that is missing here is refused as well, only without its name.

/// What to look for: a name, where it begins, and the bytes.
const AT_START: &[(&str, usize, &[u8])] = &[
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("an XFS file system", 0, b"XFSB"),
    ("an NTFS file system", 3, b"NTFS    "),
    ("an exFAT file system", 3, b"EXFAT   "),
    ("a FAT file system", 54, b"FAT"),
    ("a FAT file system", 82, b"FAT32   "),
    ("a bcache device", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ("an ext2, ext3 or ext4 file system", 1024 + 56, b"\x53\xef"),
    ("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    ("a btrfs file system", 65536 + 64, b"_BHRfS_M"),
    ("swap space", 4096 - 10, b"SWAPSPACE2"),
    ("swap space", 65536 - 10, b"SWAPSPACE2"),
    ("an ISO 9660 file system", 32768 + 1, b"CD001"),
    ("a member of a Linux RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("a member of a Linux RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    // ZFS: the magic of the first uberblock of the first label, in either byte order.
    ("a member of a ZFS pool", 128 << 10, b"\x0c\xb1\xba\0\0\0\0\0"),
    ("a member of a ZFS pool", 128 << 10, b"\0\0\0\0\0\xba\xb1\x0c"),
    ("a GUID partition table", 512, b"EFI PART"),
    ("a GUID partition table", 4096, b"EFI PART"),
];

/// The name of what a device's beginning and end carry; both are given whole.
pub(super) fn recognise(start: &[u8], end: &[u8]) -> Option<&'static str> {
    let has = |bytes: &[u8], at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
    if let Some((name, ..)) = AT_START.iter().find(|(_, at, magic)| has(start, *at, magic)) {
        return Some(name);
    }
    // A physical volume's label is in one of the first four sectors.
    if (0..4).any(|sector| has(start, sector * 512, b"LABELONE") && has(start, sector * 512 + 24, b"LVM2 001")) {
        return Some("an LVM physical volume");
    }
    // At the end: the copy of the partition table, and RAID superblocks of the old formats.
    if [512, 4096].iter().any(|sector| end.len() >= *sector && has(end, end.len() - sector, b"EFI PART")) {
        return Some("the copy of a GUID partition table");
    }
    if end.chunks(4096).any(|block| has(block, 0, b"\xfc\x4e\x2b\xa9")) {
        return Some("a member of a Linux RAID");
    }
    // Last, for boot sectors of file systems end in the same way.
    has(start, 510, b"\x55\xaa").then_some("a partition table (MBR)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(at: usize, magic: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        bytes
    }

    #[test]
    fn what_is_known_is_named() {
        let zeros = vec![0; 1 << 20];
        assert_eq!(recognise(&zeros, &zeros), None);
        for (name, at, magic) in AT_START {
            assert_eq!(recognise(&carrying(*at, magic), &zeros), Some(*name));
        }
        let mut volume = carrying(512, b"LABELONE");
        volume[512 + 24..][..8].copy_from_slice(b"LVM2 001");
        assert_eq!(recognise(&volume, &zeros), Some("an LVM physical volume"));
        assert_eq!(
            recognise(&zeros, &carrying((1 << 20) - 512, b"EFI PART")),
            Some("the copy of a GUID partition table")
        );
        assert_eq!(
            recognise(&zeros, &carrying((1 << 20) - 65536, b"\xfc\x4e\x2b\xa9")),
            Some("a member of a Linux RAID")
        );
        let mut boot = carrying(510, b"\x55\xaa");
        assert_eq!(recognise(&boot, &zeros), Some("a partition table (MBR)"));
        boot[82..90].copy_from_slice(b"FAT32   ");
        assert_eq!(recognise(&boot, &zeros), Some("a FAT file system"));
    }
}
