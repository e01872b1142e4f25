use std::fs;
use std::io::Write;

use super::*;

fn all(path: &Path, columns: &[usize]) -> Result<Vec<Vec<f64>>> {
    let mut table = Table::open(path, As::Double)?;
    table.select(columns.to_vec())?;
    let mut rows = Vec::new();
    while let Some(row) = table.row()? {
        rows.push(row.to_vec());
    }
    Ok(rows)
}

fn npy(head: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head.as_bytes());
    file.extend(bytes);
    file
}

#[test]
fn the_same_numbers_are_read_from_every_kind_of_array() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    // Two columns of three rows; by row, by column, the other way round, as whole numbers.
    let (by_row, by_column) = ([1.0, -2.0, 3.0, 4.0, 5.0, 6.0_f64], [1.0, 3.0, 5.0, -2.0, 4.0, 6.0_f64]);
    let little: Vec<u8> = by_row.iter().flat_map(|x| x.to_le_bytes()).collect();
    let other: Vec<u8> = by_column.iter().flat_map(|x| x.to_le_bytes()).collect();
    let big: Vec<u8> = by_row.iter().flat_map(|x| (*x as f32).to_be_bytes()).collect();
    let whole: Vec<u8> = by_row.iter().flat_map(|x| (*x as i16).to_le_bytes()).collect();
    for (descr, fortran, bytes) in
        [("<f8", "False", &little), ("<f8", "True", &other), (">f4", "False", &big), ("<i2", "False", &whole)]
    {
        let head = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': (3, 2), }}\n");
        fs::write(&path, npy(&head, bytes)).unwrap();
        assert_eq!(all(&path, &[1, 0]).unwrap(), [[-2.0, 1.0], [4.0, 3.0], [6.0, 5.0]], "{descr} {fortran}");
        // Cut by one byte: said, not read as fewer rows.
        fs::write(&path, npy(&head, &bytes[..bytes.len() - 1])).unwrap();
        assert!(all(&path, &[0]).unwrap_err().problem.contains("it is cut"));
    }
    let one = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", &[0; 8]);
    fs::write(&path, one).unwrap();
    assert_eq!(all(&path, &[0]).unwrap(), [[0.0], [0.0]]);
}

#[test]
fn the_line_that_pandas_writes_over_columns_without_names_is_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    for (head, named) in [
        ("0,1,2", true),
        (",0,1", true),
        ("\u{feff}0,1,2", true),
        ("1,2,3", false),
        ("0,1,3", false),
        ("0.0,1,2", false),
    ] {
        fs::write(&path, format!("{head}\n0.5,0.25,0.125\n")).unwrap();
        assert_eq!(Table::open(&path, As::Double).unwrap().head().names.is_some(), named, "{head:?}");
        assert_eq!(all(&path, &[2]).unwrap().len(), if named { 1 } else { 2 }, "{head:?}");
    }
    // A lone column: behind pandas' index it is told, alone it is not.
    for (head, named) in [(",0\n0,", true), ("0\n", false)] {
        fs::write(&path, format!("{head}0.5\n")).unwrap();
        assert_eq!(Table::open(&path, As::Double).unwrap().head().names.is_some(), named, "{head:?}");
    }
}

#[test]
fn text_with_and_without_names_and_pieces_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let lines: String = (0..10_000).map(|i| format!("{i},{}e-1\n", 2 * i)).collect();
    for head in ["", "\u{feff}a,b\n"] {
        fs::write(&path, format!("{head}{lines}")).unwrap();
        let rows = all(&path, &[1, 0]).unwrap();
        assert_eq!(rows.len(), 10_000, "{head:?}");
        assert!(rows.iter().enumerate().all(|(i, row)| row[1] == i as f64 && (row[0] - i as f64 / 5.0).abs() < 1e-9));
    }
    assert_eq!(Table::open(&path, As::Double).unwrap().head().names, Some(vec!["a".to_owned(), "b".into()]));
    // What `pillion features` wrote reads back to the same bits.
    fs::write(&path, "x\n0.1\n\n3.4028235e38\n").unwrap();
    let mut table = Table::open(&path, As::Single).unwrap();
    assert_eq!(table.row().unwrap().unwrap(), [f64::from(0.1_f32)]);
    assert_eq!(table.row().unwrap().unwrap(), [f64::from(f32::MAX)]);
}

#[test]
fn what_is_no_table_of_numbers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let refused = |bytes: &[u8], words: &str| {
        fs::write(&path, bytes).unwrap();
        let error = all(&path, &[0]).unwrap_err();
        assert!(error.problem.contains(words), "{error}");
        assert_eq!(error.exit_code, Error::INPUT);
    };
    refused(b"", "is empty");
    refused(b"a,b\nx,1\n", "no number");
    refused(b"a,b\n1,2,3\n", "fields");
    refused(b"PK\x03\x04rest", "archive");
    refused(b"PAR1 and no foot", "");
    refused(b"\x28\xb5\x2f\xfdzstd", "compressed");
    refused(&npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &[0; 8]), "array of `|O`");
    refused(&npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", &[0; 8]), "records");
    refused(&npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1), }", &[0; 8]), "3 dimensions");
    refused(
        &npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 9), }", &[0; 8]),
        "it is cut",
    );
    refused(&npy("{'descr': '<f8'", &[])[..12], "no array");
    refused(&vec![b'1'; 3 << 20], "longer than");
    assert!(all(Path::new("/dev/zero"), &[0]).unwrap_err().problem.contains("no regular file"));
    assert!(all(dir.path(), &[0]).unwrap_err().problem.contains("no regular file"));
}

#[cfg(feature = "parquet")]
#[test]
fn columns_of_parquet_by_kind_over_groups() {
    use std::sync::Arc;

    use ::parquet::data_type::{BoolType, ByteArrayType, DoubleType, Int32Type};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let schema = "message m { required int32 id (INTEGER(32, false)); optional double p; required boolean b; required binary s; }";
    let properties = WriterProperties::builder().set_compression(::parquet::basic::Compression::SNAPPY).build();
    let file = fs::File::create(&path).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for group in 0..3 {
        let mut rows = writer.next_row_group().unwrap();
        let ids: Vec<i32> = (0..5_000).map(|i| (3_000_000_000_u32 + group * 5_000 + i) as i32).collect();
        let there: Vec<i16> = (0..5_000).map(|i| i16::from(i % 10 != 0)).collect();
        let values: Vec<f64> = (0..5_000).filter(|i| i % 10 != 0).map(f64::from).collect();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&values, Some(&there), None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<BoolType>().write_batch(&[true; 5_000], None, None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&vec!["x".into(); 5_000], None, None).unwrap();
        column.close().unwrap();
        rows.close().unwrap();
    }
    writer.close().unwrap();
    let rows = all(&path, &[1, 0, 2]).unwrap();
    assert_eq!(rows.len(), 15_000);
    for (i, row) in rows.iter().enumerate() {
        let within = i % 5_000;
        assert!(if within % 10 == 0 { row[0].is_nan() } else { row[0] == within as f64 });
        assert_eq!(row[1..], [3_000_000_000.0 + i as f64, 1.0]);
    }
    let text = all(&path, &[3]).unwrap_err().problem;
    assert!(text.contains("column `s` is BYTE_ARRAY"), "{text}");
    // Any byte of it changed: an error or other numbers, never a panic.
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 400 + 1) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        fs::File::create(&path).unwrap().write_all(&changed).unwrap();
        let _ = all(&path, &[0, 1, 2]);
    }
}
