//! Compares what was acknowledged with what was received.
use std::collections::HashMap;
use std::fmt;

use crate::publisher::Said;
use crate::receiver::Received;

/// What is wrong, in words, and how much there was.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub received: usize,
    /// Second copies at QoS 1, which are allowed.
    pub repeated: usize,
    /// Acknowledged and not received, with the cycle of the acknowledgement.
    pub lost: Vec<(String, usize, u32)>,
    /// More than one copy at QoS 2.
    pub duplicated: Vec<(String, usize)>,
    /// A first copy after that of a later message of its publisher and topic.
    pub out_of_order: Vec<(String, usize)>,
    /// Never published.
    pub unexpected: Vec<(String, usize)>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        let sins = self.duplicated.len() + self.out_of_order.len() + self.unexpected.len();
        self.lost.is_empty() && sins == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} acknowledged, {} received ({} repeated at QoS 1), {} lost, {} duplicated at QoS 2, {} out of order, \
             {} unexpected",
            self.acknowledged,
            self.received,
            self.repeated,
            self.lost.len(),
            self.duplicated.len(),
            self.out_of_order.len(),
            self.unexpected.len()
        )
    }
}

pub fn judge(said: &[Said], received: &Received) -> Verdict {
    let mut verdict = Verdict { received: received.len(), ..Verdict::default() };
    let mut copies: HashMap<(&str, usize), usize> = HashMap::new();
    let mut highest: HashMap<&str, usize> = HashMap::new();
    for (topic, number) in received {
        let copies = copies.entry((topic, *number)).or_default();
        *copies += 1;
        if *copies == 1 {
            if highest.get(topic.as_str()).is_some_and(|highest| number < highest) {
                verdict.out_of_order.push((topic.clone(), *number));
            }
            let highest = highest.entry(topic).or_default();
            *highest = (*highest).max(*number);
        } else if topic.ends_with("/2") {
            verdict.duplicated.push((topic.clone(), *number));
        } else {
            verdict.repeated += 1;
        }
    }
    for of in said {
        for (index, messages) in of.acknowledged.iter().enumerate() {
            let topic = format!("up/{}/{}", of.name, index + 1);
            for (number, cycle) in messages.iter().enumerate() {
                let Some(cycle) = cycle else { continue };
                verdict.acknowledged += 1;
                if !copies.contains_key(&(topic.as_str(), number)) {
                    verdict.lost.push((topic.clone(), number, *cycle));
                }
            }
        }
    }
    let published = |topic: &str, number: usize| {
        let of = |said: &&Said| topic.rsplit_once('/').is_some_and(|(name, _)| name == format!("up/{}", said.name));
        let index = usize::from(topic.ends_with("/2"));
        said.iter().find(of).is_some_and(|said| number < said.acknowledged[index].len())
    };
    let unexpected = copies.keys().filter(|(topic, number)| !published(topic, *number));
    verdict.unexpected = unexpected.map(|(topic, number)| ((*topic).to_owned(), *number)).collect();
    verdict
}

/// The judge itself is judged: each sin by itself.
#[test]
fn every_sin_is_seen() {
    let said = |acknowledged| vec![Said { name: "p".into(), acknowledged }];
    let received = |numbers: &[usize]| numbers.iter().map(|number| ("up/p/2".to_owned(), *number)).collect();
    let two = || said([Vec::new(), vec![Some(1), Some(2)]]);
    assert!(judge(&two(), &received(&[0, 1])).is_clean());
    assert_eq!(judge(&two(), &received(&[0])).lost, [("up/p/2".to_owned(), 1, 2)]);
    assert_eq!(judge(&two(), &received(&[0, 1, 0])).duplicated, [("up/p/2".to_owned(), 0)]);
    assert_eq!(judge(&two(), &received(&[1, 0])).out_of_order, [("up/p/2".to_owned(), 0)]);
    assert_eq!(judge(&two(), &received(&[0, 1, 2])).unexpected, [("up/p/2".to_owned(), 2)]);
}
