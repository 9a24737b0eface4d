//! A data set of the shape of a shop's: programs that differ in every rule, affiliates in every
//! state, orders old and new, free ones among them.

use payoutd::clock::Clock;

use crate::place::Place;

const PROGRAMS: &str = "\
program,title,currency,hold_days,min_payout,auto_credit,auto_payout
creator,Creator program,USD,30,50.00,true,true
legacy,\"Legacy program, by hand\",USD,60,25.00,false,true
manual,Manual program,USD,14,100.00,true,false
tokyo,東京,JPY,7,5000,true,true
kuwait,Kuwait program,KWD,0,4.500,true,true
";
const AFFILIATES: &str =
    "affiliate_id,program,partner_id,name,email,code,status,method,destination,method_status\n";
const COMMISSIONS: &str =
    "commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at\n";
/// Currency and digits of each program, in the order of the file.
const CURRENCIES: [(&str, &str, usize); 5] = [
    ("creator", "USD", 2),
    ("legacy", "USD", 2),
    ("manual", "USD", 2),
    ("tokyo", "JPY", 0),
    ("kuwait", "KWD", 3),
];

/// Writes the three files into the folder `name` of the place.
pub fn write(place: &Place, name: &str, affiliates: usize, commissions: usize) {
    place.write(&format!("{name}/programs.csv"), PROGRAMS);
    place.write(&format!("{name}/affiliates.csv"), affiliate_rows(affiliates));
    place.write(&format!("{name}/commissions.csv"), commission_rows(affiliates, commissions));
}

/// Writes a data set of one program whose affiliates are all to be paid by PayPal.
pub fn write_payable(place: &Place, name: &str, affiliates: usize) {
    write_payable_by(place, name, affiliates, "paypal");
}

/// Writes a data set of one program whose affiliates are all to be paid by one method.
pub fn write_payable_by(place: &Place, name: &str, affiliates: usize, method: &str) {
    let mut rows = AFFILIATES.to_owned();
    let mut earned = COMMISSIONS.to_owned();
    for index in 0..affiliates {
        rows += &affiliate(index, "creator", "active", method, "verified");
        let cents = 5_000 + index * 7;
        let amount = decimal(cents, 2);
        earned += &format!(
            "c-{index:06},aff-{index:05},o-{index},999.99,{amount},USD,1997-03-01T12:00:00Z\n"
        );
    }
    place.write(&format!("{name}/programs.csv"), PROGRAMS);
    place.write(&format!("{name}/affiliates.csv"), rows);
    place.write(&format!("{name}/commissions.csv"), earned);
}

fn affiliate_rows(count: usize) -> String {
    let mut rows = AFFILIATES.to_owned();
    for index in 0..count {
        let program = CURRENCIES[index % 5].0;
        let status = match index % 13 {
            7 => "suspended",
            11 => "pending",
            _ => "active",
        };
        let method = ["paypal", "paypal", "ach", "paypal", "wire", "stripe-connect", ""];
        let method = method[(index / 5) % 7];
        let method_status = match (method, index % 11) {
            ("", _) => "",
            (_, 4) => "pending",
            _ => "verified",
        };
        rows += &affiliate(index, program, status, method, method_status);
    }
    rows
}

fn affiliate(
    index: usize,
    program: &str,
    status: &str,
    method: &str,
    method_status: &str,
) -> String {
    let id = format!("aff-{index:05}");
    let bank =
        r#"""routingNumber"":""999999992"",""accountNumber"":""1000"",""accountHolderName"":""A"""#;
    let destination = match method {
        "paypal" => format!(r#""{{""email"":""{id}@example.com""}}""#),
        "ach" => format!(r#""{{{bank},""accountType"":""checking""}}""#),
        "wire" => format!(r#""{{{bank},""city"":""Ulm"",""country"":""DE""}}""#),
        "stripe-connect" => format!(r#""{{""account"":""acct_{index}""}}""#),
        _ => String::new(),
    };
    format!(
        "{id},{program},partner-{index},Name {index},{id}@example.com,CODE{index},{status},{method},{destination},{method_status}\n"
    )
}

fn commission_rows(affiliates: usize, count: usize) -> String {
    let yesterday = Clock::System.now() - chrono::TimeDelta::days(1);
    let yesterday = yesterday.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut rows = COMMISSIONS.to_owned();
    let mut random = 20_261_122_u64;
    for index in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        // Few have many and many have few, the last one nothing at all.
        let draw = (random >> 33) as usize;
        let affiliate = (draw % affiliates) * (draw / 7 % affiliates) / affiliates;
        let (_, currency, digits) = CURRENCIES[affiliate % 5];
        let minor = if index % 97 == 0 { 0 } else { (random >> 20) as usize % 2_000 };
        let converted = match index % 17 {
            3 => yesterday.clone(),
            _ => format!("1997-{:02}-{:02}T12:00:00Z", index % 12 + 1, index % 28 + 1),
        };
        rows += &format!(
            "c-{index:06},aff-{affiliate:05},order-{index},{},{},{currency},{converted}\n",
            decimal(minor * 10, digits),
            decimal(minor, digits)
        );
    }
    rows
}

/// Minor units as a decimal with so many digits.
pub fn decimal(minor: usize, digits: usize) -> String {
    if digits == 0 {
        return minor.to_string();
    }
    let text = format!("{minor:0width$}", width = digits + 1);
    let (whole, rest) = text.split_at(text.len() - digits);
    format!("{whole}.{rest}")
}
