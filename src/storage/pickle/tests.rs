use super::*;
use proptest::prelude::*;

/// Written by Python 3.11, `pickle.dumps(value, protocol)` of one value.
const FILES: [&[u8]; 6] = [
    include_bytes!("../../../tests/pickles/protocol0.pkl"),
    include_bytes!("../../../tests/pickles/protocol1.pkl"),
    include_bytes!("../../../tests/pickles/protocol2.pkl"),
    include_bytes!("../../../tests/pickles/protocol3.pkl"),
    include_bytes!("../../../tests/pickles/protocol4.pkl"),
    include_bytes!("../../../tests/pickles/protocol5.pkl"),
];

fn tuple(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Tuple(items.into_iter().collect())
}

fn ints(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().copied().map(Value::Int).collect()
}

fn message(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn all_protocols_of_python_give_the_same_value() {
    let query = tuple([
        tuple([Value::Int(7), tuple(ints(&[1, 2]))]),
        tuple([Value::Int(8), tuple(ints(&[3]))]),
        tuple(ints(&[-2])),
    ]);
    let other = tuple([Value::Int(5), tuple(ints(&[0]))]);
    let answers = [(query.clone(), Value::Set(ints(&[1, 2]).into())), (other, Value::Set(ints(&[3]).into()))];
    let empty: Arc<[Value]> = [].into();
    let key = |text: &str| Value::Str(text.into());
    let mut expected = vec![
        (key("é\\n"), Value::List(ints(&[1, -1, 1 << 40, -(1 << 62), 300, 70_000]).into())),
        (key("q"), Value::Dict(answers.into())),
        (key("t"), tuple([Value::Bool(true), Value::Bool(false), Value::None, Value::Float(1.5)])),
        (key("f"), Value::FrozenSet(ints(&[9]).into())),
        (
            key("e"),
            Value::List(
                [tuple([]), Value::List(empty.clone()), Value::Dict([].into()), Value::Set(empty.clone())]
                    .into(),
            ),
        ),
        (key("same"), Value::List([query.clone(), query].into())),
    ];
    for (protocol, bytes) in FILES.into_iter().enumerate() {
        if protocol == 3 {
            expected.push((key("b"), Value::Bytes([0xff, 0].into())));
        }
        assert_eq!(parse(bytes).unwrap(), Value::Dict(expected.clone().into()), "protocol {protocol}");
    }
}

#[test]
fn python_2_strings_are_text_where_they_are_utf8() {
    assert_eq!(parse(b"S'a\\n\\x41\\''\n.").unwrap(), Value::Str("a\nA'".into()));
    assert_eq!(parse(b"U\x01\xff.").unwrap(), Value::Bytes([0xff].into()));
    assert_eq!(parse(b"L-12L\n.").unwrap(), Value::Int(-12));
}

#[test]
fn whatever_runs_code_is_refused_by_name() {
    let calls: [(&[u8], &str); 6] = [
        (b"cos\nsystem\n(S'id'\ntR.", "byte 0: refuses the global os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "refuses the global builtins.eval"),
        (b"(S'id'\nios\nsystem\n.", "refuses instruction 0x69"),
        (b"}}b.", "refuses instruction 0x62"),
        (b"cbuiltins\nset\n.", "Set is a type and no value"),
        (b"cbuiltins\nset\nK\x01\x85R.", "refuses these arguments of Set"),
    ];
    for (bytes, expected) in calls {
        assert!(message(bytes).contains(expected), "{}", message(bytes));
    }
}

#[test]
fn bombs_cycles_and_depth_are_errors() {
    // Each tuple holds the one before it twice: 2^40 values in 83 bytes.
    let doubled = [&b"K\x01"[..], &b"2\x86".repeat(40), b"."].concat();
    assert!(message(&doubled).contains("times the file"), "{}", message(&doubled));
    assert!(message(b"]q\x00h\x00a.").contains("holds itself"));
    let deep = |n: usize| [&b"]"[..], &b"\x85".repeat(n), b"."].concat();
    assert!(parse(&deep(MAX_DEPTH - 1)).is_ok());
    assert!(message(&deep(MAX_DEPTH)).contains("nested deeper"));
    // Lengths and numbers that promise more than there is.
    for bytes in [
        &b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff."[..],
        b"B\xff\xff\xff\x7f.",
        b"Nr\xff\xff\xff\xff.",
        b"Np99999999999999999999\n.",
    ] {
        assert!(parse(bytes).is_err());
    }
    assert!(message(b"\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01.").contains("more than 64 bits"));
}

#[test]
fn damage_is_an_error_that_names_its_byte() {
    assert_eq!(message(b""), "byte 0: needs 1 more bytes, found 0");
    assert_eq!(message(b"K\x01K"), "byte 2: needs 1 more bytes, found 0");
    assert_eq!(message(b"N.N"), "byte 1: the pickle ends here, but 1 more bytes follow");
    assert!(message(b"NN.").contains("more than one value"));
    assert!(message(b"}(K\x01u.").contains("a key without a value"));
    assert!(message(b"Va\\ud800\n.").contains("no character"));
    for bytes in FILES {
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_changed_byte_makes_it_panic(file in 0usize..6, place in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = FILES[file].to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = parse(&bytes);
    }
}
