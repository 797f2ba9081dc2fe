//! Questions that go on to other servers, and what comes back: the bytes of both.
//!
//! A question goes on as it came, with a number of our own. What comes back is believed if it has that number and
//! answers that question.

use hickory_proto::op::{Header, Message, Metadata, Query, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::answer::{self, HEADER, Transport};

/// The same message under another number.
#[must_use]
pub fn with_id(message: &[u8], id: u16) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
    message
}

/// The number of a message.
#[must_use]
pub fn id_of(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// What a server has said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// This goes back.
    Answer(Vec<u8>),
    /// It cannot say; another may. This goes back if none can.
    Unable(Vec<u8>),
    /// It is no answer to the question.
    Noise,
}

/// Looks at what came back for a question that was sent on under the number `id`.
#[must_use]
pub fn read(question: &[u8], id: u16, transport: Transport, came: &[u8]) -> Said {
    let Some(number) = id_of(question) else { return Said::Noise };
    let is_answer = came.len() >= HEADER && answer::is_response(came) && id_of(came) == Some(id);
    let (Some((_, asked)), Some((said, answered))) = (opening(question), opening(came)) else {
        // One that we cannot read is not passed on either: nobody would look whether it is to this question.
        return Said::Noise;
    };
    let is_same =
        asked == answered || (answered.is_empty() && said.response_code != ResponseCode::NoError);
    if !is_answer || !is_same {
        return Said::Noise;
    }
    let too_long = transport == Transport::Udp && came.len() > answer::udp_limit(question);
    let back = if too_long { answer::truncated(question) } else { Some(with_id(came, number)) };
    let Some(back) = back else { return Said::Noise };
    let unable = [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp];
    let is_unable = unable.contains(&said.response_code);
    if is_unable { Said::Unable(back) } else { Said::Answer(back) }
}

/// A message's header and what is asked in it. Its records are for who has asked: there are more of them than we
/// can read, and one that we cannot read takes nothing from the others.
fn opening(message: &[u8]) -> Option<(Metadata, Vec<Query>)> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).ok()?;
    let count = usize::from(header.counts.queries);
    let queries = (count <= 1).then(|| Message::read_queries(&mut decoder, count).ok());
    Some((header.metadata, queries.flatten()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use proptest::prelude::*;

    fn question(id: u16) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        let name = Name::from_ascii("Example.org.").unwrap();
        message.add_query(Query::query(name, RecordType::A));
        message.to_vec().unwrap()
    }

    fn reply(id: u16, code: ResponseCode) -> Message {
        let mut message = Message::from_vec(&question(id)).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = code;
        message
    }

    #[test]
    fn an_answer_goes_back_under_the_number_of_who_asked() {
        let mut said = reply(7, ResponseCode::NoError);
        let name = Name::from_ascii("example.org.").unwrap();
        said.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        let came = said.to_vec().unwrap();
        let read = read(&question(9), 7, Transport::Udp, &came);
        assert_eq!(read, Said::Answer(with_id(&came, 9)));
    }

    #[test]
    fn records_that_we_cannot_read_are_who_askeds_affair() {
        let mut said = reply(7, ResponseCode::NoError);
        let name = Name::from_ascii("example.org.").unwrap();
        said.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        let mut came = said.to_vec().unwrap();
        let length = came.len() - 5;
        came.truncate(came.len() - 1);
        // An address of three bytes.
        came[length] = 3;
        assert!(Message::from_vec(&came).is_err());
        let read = read(&question(9), 7, Transport::Udp, &came);
        assert_eq!(read, Said::Answer(with_id(&came, 9)));
    }

    #[test]
    fn what_answers_something_else_is_not_believed() {
        let came = reply(7, ResponseCode::NoError).to_vec().unwrap();
        assert_eq!(read(&question(9), 8, Transport::Udp, &came), Said::Noise, "another number");
        assert_eq!(read(&question(9), 9, Transport::Udp, &question(9)), Said::Noise, "a question");
        let mut other = reply(7, ResponseCode::NoError);
        other.queries.clear();
        other.add_query(Query::query(Name::from_ascii("evil.org.").unwrap(), RecordType::A));
        let other = other.to_vec().unwrap();
        assert_eq!(read(&question(9), 7, Transport::Udp, &other), Said::Noise, "another name");
        assert_eq!(read(&question(9), 7, Transport::Udp, &came[..5]), Said::Noise, "half of it");
    }

    #[test]
    fn a_server_that_cannot_say_leaves_it_to_the_next() {
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
            let mut said = reply(7, code);
            said.queries.clear();
            let came = said.to_vec().unwrap();
            assert_eq!(
                read(&question(9), 7, Transport::Udp, &came),
                Said::Unable(with_id(&came, 9))
            );
        }
        let came = reply(7, ResponseCode::NXDomain).to_vec().unwrap();
        assert!(matches!(read(&question(9), 7, Transport::Udp, &came), Said::Answer(_)));
    }

    #[test]
    fn what_is_too_long_for_who_asked_is_cut() {
        let mut said = reply(7, ResponseCode::NoError);
        let name = Name::from_ascii("example.org.").unwrap();
        let long = TXT::new(vec!["x".repeat(255), "y".repeat(255), "z".repeat(255)]);
        said.add_answer(Record::from_rdata(name, 60, RData::TXT(long)));
        let came = said.to_vec().unwrap();
        let Said::Answer(cut) = read(&question(9), 7, Transport::Udp, &came) else { panic!() };
        assert!(cut.len() <= 512);
        assert!(Message::from_vec(&cut).unwrap().metadata.truncation);
        assert_eq!(read(&question(9), 7, Transport::Tcp, &came), Said::Answer(with_id(&came, 9)));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_harm(came in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&question(9), 7, Transport::Udp, &came);
        }

        #[test]
        fn a_changed_answer_is_no_harm(at in 0_usize..28, byte in any::<u8>()) {
            let mut came = reply(7, ResponseCode::NoError).to_vec().unwrap();
            if let Some(place) = came.get_mut(at) {
                *place = byte;
            }
            match read(&question(9), 7, Transport::Udp, &came) {
                Said::Answer(back) | Said::Unable(back) => prop_assert!(back.len() <= 512),
                Said::Noise => {}
            }
        }
    }
}
