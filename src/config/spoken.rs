//! A name a person can say over the phone, for a board that was given none.
//!
//! An adjective and a noun picked by the id: the same board always has the same name. Names are
//! for people; two boards may share one (among 30 boards, about one cluster in fifty), and
//! nothing relies on a name being unique.

use crate::base::endpoint::Name;
use crate::base::id::Id;

#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "able", "airy", "amber", "ample", "azure", "bold", "brave", "breezy", "bright", "brisk",
    "bronze", "calm", "careful", "cheery", "chief", "civil", "clean", "clear", "clever", "cosy",
    "cool", "copper", "coral", "crisp", "curly", "dapper", "daring", "deep", "deft", "dotted",
    "early", "earnest", "easy", "eager", "elder", "even", "exact", "fair", "famous", "fancy",
    "fast", "fertile", "fine", "firm", "fluent", "fond", "frank", "free", "fresh", "frosty",
    "full", "gentle", "giant", "glad", "gleaming", "golden", "good", "grand", "green", "handy",
    "happy", "hardy", "hasty", "hearty", "honest", "humble", "icy", "ideal", "ivory", "jolly",
    "joyful", "keen", "kind", "large", "late", "lean", "light", "lively", "local", "lofty",
    "loud", "loyal", "lucky", "lunar", "major", "mellow", "merry", "mighty", "mild", "minty",
    "modest", "mossy", "neat", "new", "nimble", "noble", "novel", "oaken", "odd", "olive",
    "open", "orange", "patient", "plain", "playful", "pleasant", "polite", "prime", "proud",
    "pure", "quick", "quiet", "rapid", "rare", "ready", "red", "regal", "rich", "robust", "rosy",
    "round", "royal", "ruby", "rustic", "safe", "sandy", "serene", "sharp", "shiny", "silent",
    "silver", "simple", "sleek", "smart", "smooth", "snowy", "solar", "solid", "sonic", "spare",
    "spry", "steady", "still", "stout", "strong", "sturdy", "sunny", "super", "sweet", "swift",
    "tall", "tame", "teal", "tender", "tidy", "tiny", "topaz", "true", "trusty", "upbeat",
    "upper", "urban", "vast", "velvet", "violet", "vital", "vivid", "warm", "wary", "wavy",
    "white", "wide", "wild", "wise", "witty", "woody", "young", "zesty",
];

#[rustfmt::skip]
const NOUNS: &[&str] = &[
    "acorn", "alder", "anchor", "anvil", "apple", "arch", "arrow", "aspen", "badger", "bagel",
    "barley", "basil", "beacon", "bear", "beaver", "beech", "beetle", "bell", "birch", "bison",
    "boat", "bonsai", "breeze", "bridge", "brook", "buffalo", "cabin", "cactus", "canoe",
    "canyon", "carrot", "castle", "cedar", "cherry", "cliff", "clover", "cobra", "comet",
    "condor", "cookie", "cove", "coyote", "crane", "creek", "cricket", "crocus", "daisy", "deer",
    "delta", "dingo", "dolphin", "donkey", "dove", "dragon", "drum", "duck", "dune", "eagle",
    "elk", "elm", "ember", "falcon", "fern", "ferry", "fiddle", "finch", "fjord", "flute",
    "forest", "fox", "garden", "gecko", "geyser", "ginger", "glacier", "goose", "gorge", "grove",
    "gull", "hammer", "harbor", "hare", "harp", "hawk", "hazel", "heron", "hill", "holly",
    "hornet", "ibis", "iguana", "island", "ivy", "jaguar", "jasmine", "kayak", "kestrel", "kite",
    "kiwi", "koala", "lagoon", "lake", "lantern", "larch", "lark", "lemon", "lentil", "lily",
    "lion", "lizard", "llama", "lotus", "lynx", "magpie", "mango", "maple", "marble", "marmot",
    "meadow", "melon", "mesa", "meteor", "mill", "mole", "moose", "moth", "mountain", "mule",
    "nectar", "nettle", "newt", "nutmeg", "oak", "ocean", "onion", "orchid", "osprey", "otter",
    "owl", "panda", "panther", "papaya", "parrot", "peach", "pebble", "pelican", "pepper",
    "piano", "pine", "planet", "plover", "plum", "pond", "pony", "poplar", "poppy", "prairie",
    "puffin", "puma", "pumpkin", "quail", "quartz", "rabbit", "radish", "raven", "reef", "ridge",
    "river", "robin", "rocket", "rowan", "saddle", "saffron", "salmon", "seal", "sequoia",
    "shore", "sparrow", "spruce", "squid", "stork", "stream", "swan", "tapir", "teapot", "thistle",
    "tiger", "toucan", "trout", "tulip", "tundra", "turnip", "turtle", "valley", "viola", "walnut",
    "walrus", "weasel", "whale", "willow", "wolf", "wombat", "wren", "yak", "zebra",
];

/// The name of a board that was given none, from its id: `calm-heron`.
pub fn spoken_name(id: &Id) -> Name {
    let bytes = id.as_bytes();
    let word = |list: &[&'static str], high: u8, low: u8| {
        list[usize::from(u16::from_be_bytes([high, low])) % list.len()]
    };
    let adjective = word(ADJECTIVES, bytes[0], bytes[1]);
    let noun = word(NOUNS, bytes[2], bytes[3]);
    format!("{adjective}-{noun}")
        .parse()
        .expect("two words and a dash are a name")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_short_plain_and_listed_once() {
        let mut seen = BTreeSet::new();
        for word in ADJECTIVES.iter().chain(NOUNS) {
            assert!(
                word.len() <= 10 && word.bytes().all(|b| b.is_ascii_lowercase()),
                "{word}"
            );
            assert!(seen.insert(word), "{word} is listed twice");
        }
        assert!(ADJECTIVES.len() >= 150 && NOUNS.len() >= 180);
    }

    #[test]
    fn a_name_stays_the_same_for_good() {
        assert_eq!(spoken_name(&Id::ZERO).as_str(), "able-acorn");
        assert_eq!(
            spoken_name(&Id::of(b"board")),
            spoken_name(&Id::of(b"board"))
        );
    }

    #[test]
    fn a_hundred_boards_hardly_share_names() {
        let names: BTreeSet<_> = (0u32..100)
            .map(|n| spoken_name(&Id::of(&n.to_be_bytes())))
            .collect();
        assert!(names.len() >= 97, "{} names", names.len());
    }

    proptest! {
        #[test]
        fn every_id_has_a_name(bytes: [u8; 32]) {
            let name = spoken_name(&Id::from_bytes(bytes));
            prop_assert!(name.as_str().contains('-'));
        }
    }
}
